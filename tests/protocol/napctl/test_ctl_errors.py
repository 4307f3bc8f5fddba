"""Exit statuses and error documents: each code, from the daemon, from the command line, from the socket."""

from __future__ import annotations

import os
import socket as sockets_module
import threading
from pathlib import Path
from typing import Any

import pytest

from napctl.client import MAX_SOCKET_PATH
from napd.errors import EXIT_STATUS
from tests.support import documents
from tests.support.command_line import napctl
from tests.support.fake_daemon import Error, FakeDaemon, HangUp, Push, Raw, Reply, Silence
from tests.support.napctl_answers import ANSWERS

STATUSES = [(code, EXIT_STATUS.get(code, 1)) for code in documents.CODES]


@pytest.mark.parametrize(("code", "status"), STATUSES)
def test_the_daemons_code_decides_the_exit_status(code: str, status: int, sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"search": Error(code, "moon: it did not work", "try the sun")}) as daemon:
        people = napctl("search", "moon", socket=daemon.path)
        script = napctl("search", "moon", "--json", socket=daemon.path)
    assert (people.status, people.out, people.err) == (status, "", "napctl: moon: it did not work. Try the sun.\n")
    assert (script.status, script.err) == (status, "")
    error = {"code": code, "message": "moon: it did not work", "hint": "try the sun"}
    assert script.json == {"schema": 1, "error": error}


def test_an_error_without_our_code_is_told_by_its_number(sockets: Path) -> None:
    bare = b'{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"hm"}}\n'
    for number, status in ((-32602, 2), (-32603, 1), (-32601, 2)):
        with FakeDaemon(sockets / f"s{number}", {"status": [Raw(bare % number)]}) as daemon:
            assert napctl("status", socket=daemon.path).status == status


def test_a_method_the_daemon_lacks_points_to_the_other_socket(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {}) as daemon:
        ran = napctl("index", "status", socket=daemon.path)
    assert ran.status == 2
    assert "index.status" in ran.err and "--socket" in ran.err


def test_text_from_the_daemon_cannot_steer_the_terminal(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"status": Error("failed", documents.HOSTILE, "\x1b[2J")}) as daemon:
        ran = napctl("status", socket=daemon.path)
    assert "\x1b" not in ran.err and ran.err.count("\n") == 1


USAGE = [
    [],
    ["frob"],
    ["--frob"],
    ["--frob", "status"],
    ["--timeout", "0", "status"],
    ["--timeout", "soon", "status"],
    ["status", "--timeout", "5"],
    ["status", "extra"],
    ["search"],
    ["search", ""],
    ["search", " ", ""],
    ["search", "--ext", "mp3"],
    ["search", "--frob", "moon"],
    ["search", "moon", "--fr"],
    ["search", "moon", "--min-size", "big"],
    ["search", "moon", "--type", "music"],
    ["search", "moon", "--sort", "color"],
    ["search", "moon", "--limit", "0"],
    ["search", "moon", "--limit", "1001"],
    ["search", "moon", "--ext"],
    ["get"],
    ["get", "1", "2", "--name", "x"],
    ["get", "1,2", "--name", "x"],
    ["get", "1-2", "--name", "x"],
    ["get", "1", "--name", "a/b"],
    ["get", "1", "--name", ""],
    ["get", "1", "--to", ""],
    ["get", "1", "--priority", "huge"],
    ["get", "1", "--timeout", "5"],
    ["queue", "frob"],
    ["queue", "pause"],
    ["queue", "priority", "3"],
    ["queue", "priority", "3", "huge"],
    ["queue", "move", "3", "0"],
    ["queue", "move", "3", "-1"],
    ["queue", "move", "3", "first"],
    ["queue", "clear", "3"],
    ["sources"],
    ["sources", "0"],
    ["sources", "x"],
    ["wait"],
    ["wait", "3", "--timeout", "never"],
    ["share", "frob"],
    ["share", "add"],
    ["share", "add", ""],
    ["share", "add", "/x", "--name", ""],
    ["share", "add", "/x\udcff"],
    ["search", "caf\udce9"],
    ["limit", "--up", "fast"],
    ["limit", "--slots", "-1"],
    ["events", "--since", "yesterday"],
    ["completion", "tcsh"],
    ["completion"],
    ["browse", "ann"],
    ["doctor", "--frob"],
    ["index", "frob"],
]


@pytest.mark.parametrize("line", USAGE, ids=" ".join)
def test_a_wrong_command_line_exits_with_2_and_asks_nothing(line: list[str], sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        people = napctl(*line, socket=daemon.path)
        script = napctl("--json", *line, socket=daemon.path)
    assert (people.status, people.out) == (2, "")
    assert people.err.startswith("napctl: ") or line == []
    assert (script.status, script.err) == (2, "")
    assert script.json["schema"] == 1
    assert script.json["error"]["code"] == "usage"
    assert script.json["error"]["message"]
    assert daemon.requests == []


def test_an_unknown_command_suggests_a_known_one() -> None:
    assert "Did you mean search?" in napctl("serach", "moon").err
    assert "Did you mean pause?" in napctl("queue", "puase", "3").err


def test_nothing_at_all_shows_the_help() -> None:
    ran = napctl()
    assert ran.status == 2
    assert "Commands:" in ran.err


def test_json_after_two_dashes_is_a_word(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"search": Error("denied", "no")}) as daemon:
        ran = napctl("search", "--", "--json", socket=daemon.path)
    assert (ran.status, ran.out, ran.err) == (5, "", "napctl: no.\n")


# --- The socket ------------------------------------------------------------------------------------


def unreachable(socket: Path) -> dict[str, Any]:
    ran = napctl("--json", "status", socket=socket)
    assert ran.status == 3, ran.out
    error: dict[str, Any] = ran.json["error"]
    assert error["code"] == "unreachable"
    assert str(socket)[:50] in error["message"]
    return error


def test_no_socket_no_daemon_no_socket_at_all_and_a_path_too_long_are_unreachable(sockets: Path) -> None:
    assert "no such socket" in unreachable(sockets / "none")["message"]
    plain = sockets / "plain"
    plain.touch()
    assert "not a socket" in unreachable(plain)["message"]
    assert "not a socket" in unreachable(sockets)["message"]
    stale = sockets / "stale"
    with sockets_module.socket(sockets_module.AF_UNIX) as bound:
        bound.bind(os.fspath(stale))
    assert "no daemon answers" in unreachable(stale)["message"]
    assert str(MAX_SOCKET_PATH) in unreachable(sockets / ("long" * 40))["message"]


def test_without_any_socket_the_places_are_named() -> None:
    ran = napctl("status", environ={"HOME": "/nonexistent/home"})
    assert ran.status == 3
    assert "/nonexistent/home/.local/state/nappeer/control.sock" in ran.err
    index = napctl("index", "status", environ={"HOME": "/nonexistent/home"})
    assert "/nonexistent/home/.local/state/napindex/control.sock" in index.err


def test_the_sockets_place_is_an_option_then_a_variable_then_the_default(sockets: Path) -> None:
    state = sockets / ".local/state"
    answers = {name: {"status": documents.STATUS | {"user": name}} for name in ("option", "variable", "default")}
    for program in ("nappeer", "napindex"):
        (state / program).mkdir(parents=True)
    home = {"HOME": str(sockets)}
    with (
        FakeDaemon(sockets / "o", answers["option"]) as option,
        FakeDaemon(sockets / "v", answers["variable"]) as variable,
        FakeDaemon(state / "nappeer/control.sock", answers["default"]),
        FakeDaemon(state / "napindex/control.sock", {"index.status": documents.INDEX_STATUS}),
    ):

        def user(*line: str, **environ: str) -> Any:
            return napctl(*line, "--json", environ={**home, **environ}).json.get("user")

        assert user("status") == "default"
        assert user("status", NAPCTL_SOCKET="") == "default"
        assert user("status", NAPCTL_SOCKET=str(variable.path)) == "variable"
        assert user("--socket", str(option.path), "status", NAPCTL_SOCKET=str(variable.path)) == "option"
        assert user("status", "--socket", str(option.path)) == "option"
        assert napctl("index", "status", "--json", environ=home).json == documents.INDEX_STATUS


def test_a_daemon_that_says_nothing_times_out(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"status": [Silence()]}) as daemon:
        ran = napctl("--timeout", "50ms", "--json", "status", socket=daemon.path)
    assert ran.status == 6
    assert ran.json["error"]["code"] == "timeout"
    assert "0.05 s" in ran.json["error"]["message"]


def test_a_daemon_too_busy_to_accept_times_out(sockets: Path) -> None:
    path = sockets / "s"
    with sockets_module.socket(sockets_module.AF_UNIX) as bound:
        bound.bind(os.fspath(path))
        bound.listen(0)
        waiting = [sockets_module.socket(sockets_module.AF_UNIX) for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(os.fspath(path))
        ran = napctl("--timeout", "100ms", "status", socket=path)
        for each in waiting:
            each.close()
    assert ran.status == 6


@pytest.mark.parametrize("line", [["status"], ["queue"], ["wait", "3"], ["get", "3", "--wait"], ["watch"], ["events"]])
def test_a_daemon_that_hangs_up_is_unreachable(line: list[str], sockets: Path) -> None:
    gone: list[Any] = [HangUp()]
    answers = dict.fromkeys(("status", "queue.list", "queue.wait", "get", "queue.watch", "events"), gone)
    with FakeDaemon(sockets / "s", answers) as daemon:
        ran = napctl(*line, socket=daemon.path)
    assert ran.status == 3
    assert "hung up" in ran.err


def test_a_daemon_that_dies_in_the_middle_of_a_stream_leaves_what_came_and_an_error(sockets: Path) -> None:
    answers = {"events": [Push("event", documents.EVENTS[0]), HangUp()]}
    with FakeDaemon(sockets / "s", answers) as daemon:
        ran = napctl("events", "--follow", "--json", socket=daemon.path)
    assert ran.status == 3
    assert ran.documents[0] == documents.EVENTS[0]
    assert ran.documents[1]["error"]["code"] == "unreachable"


def test_a_daemon_that_dies_while_we_wait_is_unreachable(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"queue.wait": [Silence()]}) as daemon:
        killer = threading.Thread(target=lambda: (daemon.wait_for_request("queue.wait"), daemon.end()))
        killer.start()
        ran = napctl("wait", "3", socket=daemon.path)
        killer.join()
    assert ran.status == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\xff\xfe\n",
        b"[1,2]\n",
        b"null\n",
        b'{"id":"x","result":{}}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_not_our_protocol_is_a_clear_failure(answer: bytes, sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"status": [Raw(answer)]}) as daemon:
        ran = napctl("status", socket=daemon.path)
    assert ran.status == 1
    assert "not JSON-RPC" in ran.err


def test_a_document_of_another_version_is_a_clear_failure_and_raw_in_json(sockets: Path) -> None:
    odd = {"schema": 2, "frob": 1}
    with FakeDaemon(sockets / "s", {"status": odd}) as daemon:
        people = napctl("status", socket=daemon.path)
        script = napctl("status", "--json", socket=daemon.path)
    assert people.status == 1
    assert "different versions" in people.err
    assert (script.status, script.json) == (0, odd)


def test_a_connection_that_is_refused_in_words_gives_those_words(sockets: Path) -> None:
    refusal = (
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"full","data":{"code":"denied","hint":null}}}\n'
    )
    with FakeDaemon(
        sockets / "s", {"status": [Raw(refusal), HangUp()], "queue.wait": [Raw(refusal), HangUp()]}
    ) as daemon:
        assert (napctl("status", socket=daemon.path).status, napctl("wait", "3", socket=daemon.path).status) == (5, 5)


def test_answers_to_other_requests_and_unknown_notifications_are_passed_over(sockets: Path) -> None:
    noise = [Push("weather", {"rain": True}), Raw(b'{"jsonrpc":"2.0","id":77,"result":{}}\n'), Reply(documents.WHOAMI)]
    with FakeDaemon(sockets / "s", {"whoami": noise}) as daemon:
        assert napctl("whoami", "--json", socket=daemon.path).json == documents.WHOAMI


def test_a_document_of_many_megabytes_comes_whole(sockets: Path) -> None:
    rows = [documents.download(n, name="n" * 200) for n in range(1, 10_001)]
    with FakeDaemon(sockets / "s", {"queue.list": documents.downloads(*rows)}) as daemon:
        assert len(napctl("queue", "--json", socket=daemon.path).json["downloads"]) == 10_000
