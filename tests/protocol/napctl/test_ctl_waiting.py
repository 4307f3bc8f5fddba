"""wait, get --wait, watch and events: what ends them, what they print, what they exit with."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.command_line import napctl
from tests.support.documents import done, download, downloads, failed
from tests.support.fake_daemon import Error, FakeDaemon, Push, Reply, Silence, Until

ENDS: list[tuple[dict[str, Any] | Error, int]] = [
    (downloads(done(3)), 0),
    (downloads(), 0),
    (downloads(failed(3)), 1),
    (downloads(download(3, state="cancelled")), 1),
    (downloads(failed(3, "integrity")), 8),
    (downloads(failed(3, "no_space")), 9),
    (downloads(done(3), failed(4)), 7),
    (Error("timeout", "not ended within 1 s"), 6),
    (Error("not_found", "no download 3"), 4),
]


@pytest.mark.parametrize(("end", "status"), ENDS)
@pytest.mark.parametrize("line", [["wait", "3"], ["get", "1", "--wait"]])
def test_the_outcome_is_the_exit_status(line: list[str], end: Any, status: int, sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"get": downloads(download(3), download(4)), "queue.wait": end}) as daemon:
        ran = napctl(*line, "--json", socket=daemon.path)
    assert ran.status == status
    if not isinstance(end, Error):
        assert ran.json == end


def test_a_get_that_was_partly_refused_says_so_after_waiting(sockets: Path) -> None:
    refused = {"subject": "9", "code": "not_found", "message": "no result 9"}
    answers = {"get": downloads(download(3), errors=[refused]), "queue.wait": downloads(done(3))}
    with FakeDaemon(sockets / "s", answers) as daemon:
        script = napctl("get", "1", "9", "--wait", "--json", socket=daemon.path)
        people = napctl("get", "1", "9", "--wait", socket=daemon.path)
    assert (script.status, people.status) == (7, 7)
    assert script.json == downloads(done(3), errors=[refused])
    assert "napctl: no result 9.\n" in people.err


def test_a_wait_that_was_partly_possible_exits_with_7(sockets: Path) -> None:
    refused = {"subject": "9", "code": "not_found", "message": "no download 9"}
    with FakeDaemon(sockets / "s", {"queue.wait": downloads(done(3), errors=[refused])}) as daemon:
        assert napctl("wait", "3", "9", socket=daemon.path).status == 7


def test_the_reply_timeout_does_not_bound_waiting(sockets: Path) -> None:
    # The fake daemon answers long after the 20 ms that a reply may take.
    late = threading.Event()
    answers = {
        "queue.wait": [Until(late), Reply(downloads(done(3)))],
        "get": downloads(download(3)),
        "queue.watch": [Until(late), Reply(downloads(done(3)))],
        "events": [Until(late), Reply({"schema": 1})],
    }
    lines = (["wait", "3"], ["get", "1", "--wait"], ["watch"], ["events", "--follow"])
    with FakeDaemon(sockets / "s", answers) as daemon:
        timer = threading.Timer(0.2, late.set)
        timer.start()
        statuses = [napctl("--timeout", "20ms", *line, socket=daemon.path).status for line in lines]
        timer.join()
    assert statuses == [0, 0, 0, 0]


def test_a_daemon_that_forgets_the_time_is_left(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"queue.wait": [Silence()], "get": downloads(download(3))}) as daemon:
        assert napctl("--timeout", "30ms", "wait", "3", "--timeout", "20ms", socket=daemon.path).status == 6
        assert napctl("--timeout", "30ms", "get", "3", "--wait", "--timeout", "20ms", socket=daemon.path).status == 6


def test_events_without_follow_have_the_reply_timeout(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"events": [Push("event", documents.EVENTS[0]), Silence()]}) as daemon:
        ran = napctl("--timeout", "30ms", "events", "--json", socket=daemon.path)
    assert ran.status == 6
    assert [document.get("id", "error") for document in ran.documents] == [documents.EVENTS[0]["id"], "error"]


def test_watch_ends_with_0_however_the_downloads_ended(sockets: Path) -> None:
    watched = [Push("downloads", downloads(failed(3))), Reply(downloads(failed(3)))]
    with FakeDaemon(sockets / "s", {"queue.watch": watched}) as daemon:
        ran = napctl("watch", "3", socket=daemon.path)
    assert (ran.status, ran.out) == (0, "3  failed  0%  big file.bin  (the disk failed)\n")


def test_watch_prints_each_state_once_as_json(sockets: Path) -> None:
    states = [downloads(download(3, bytes_done=n)) for n in (1, 1, 2)]
    watched = [*(Push("downloads", state) for state in states), Reply({"schema": 1, "message": "that is all"})]
    with FakeDaemon(sockets / "s", {"queue.watch": watched}) as daemon:
        ran = napctl("watch", "--json", socket=daemon.path)
    assert ran.documents == [states[0], states[2]]


def test_watch_of_everything_leaves_out_what_had_ended_before(sockets: Path) -> None:
    before, after = [downloads(done(2), download(3)), downloads(done(2), done(3))]
    with FakeDaemon(sockets / "s", {"queue.watch": [Push("downloads", before), Reply(after)]}) as daemon:
        everything = napctl("watch", socket=daemon.path)
        named = napctl("watch", "2-3", socket=daemon.path)
    assert [line.split()[:2] for line in everything.out.splitlines()] == [["3", "queued"], ["3", "done"]]
    assert len(named.out.splitlines()) == 3
    with FakeDaemon(sockets / "s", {"queue.watch": downloads(done(2))}) as daemon:
        nothing = napctl("watch", socket=daemon.path)
    assert (nothing.status, nothing.out, nothing.err) == (0, "", "Nothing to watch: no download is under way.\n")


def test_watch_of_something_unknown_is_an_error(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"queue.watch": Error("not_found", "no download 9")}) as daemon:
        assert napctl("watch", "9", socket=daemon.path).status == 4


def test_watch_without_a_terminal_says_each_tenth_once(sockets: Path) -> None:
    active = [downloads(download(3, state="active", size=100, bytes_done=n, bytes_per_s=5.0)) for n in range(0, 100, 4)]
    watched = [*(Push("downloads", state) for state in active), Reply(downloads(done(3, size=100, bytes_done=100)))]
    with FakeDaemon(sockets / "s", {"queue.watch": watched}) as daemon:
        lines = napctl("watch", socket=daemon.path).out.splitlines()
    assert len(lines) == 11
    assert lines[0] == "3  active  0%  5 B/s  big file.bin"
    assert lines[-1] == "3  done  big file.bin  (/srv/downloads/big file.bin)"


def test_waiting_on_a_terminal_shows_progress_on_standard_error_only(sockets: Path) -> None:
    shown = threading.Event()

    def watching(params: dict[str, Any]) -> list[Any]:
        shown.set()
        return [Push("downloads", downloads(download(3, state="active", name="moving"))), Silence()]

    answers = {"queue.watch": watching, "queue.wait": [Until(shown), Reply(downloads(done(3)))]}
    with FakeDaemon(sockets / "s", answers) as daemon:
        ran = napctl("wait", "3", socket=daemon.path, terminal=True)
        quiet = napctl("wait", "3", "--quiet", socket=daemon.path, terminal=True)
        json = napctl("wait", "3", "--json", socket=daemon.path, terminal=True)
    assert ran.status == 0
    assert "moving" not in ran.out and "done" in ran.out
    assert (quiet.out, quiet.err) == ("", "")
    assert json.json == downloads(done(3))


def test_quiet_leaves_out_remarks_and_the_echo_of_changes_but_not_data_or_errors(sockets: Path) -> None:
    refused = {"subject": "9", "code": "not_found", "message": "no download 9"}
    answers = {"queue.list": documents.QUEUE, "queue.pause": downloads(download(3), errors=[refused])}
    with FakeDaemon(sockets / "s", answers) as daemon:
        listed = napctl("--quiet", "queue", socket=daemon.path)
        changed = napctl("queue", "pause", "3", "9", "--quiet", socket=daemon.path)
        document = napctl("queue", "pause", "3", "9", "--quiet", "--json", socket=daemon.path)
    assert (bool(listed.out), listed.err) == (True, "")
    assert (changed.status, changed.out, changed.err) == (7, "", "napctl: no download 9.\n")
    assert document.json["downloads"]


def test_no_color_and_a_dumb_terminal_hold(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"queue.list": documents.QUEUE}) as daemon:
        assert "\x1b" in napctl("queue", socket=daemon.path, terminal=True).out
        for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
            assert "\x1b" not in napctl("queue", socket=daemon.path, terminal=True, environ=environ).out
        assert "\x1b" not in napctl("queue", socket=daemon.path).out
