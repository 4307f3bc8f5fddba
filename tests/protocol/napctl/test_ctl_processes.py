"""napctl as a real process: interrupts, pipes that close, what it imports, how fast it starts."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import documents
from tests.support.documents import done, download, downloads
from tests.support.fake_daemon import FakeDaemon, Push, Reply, Silence
from tests.support.napctl_answers import ANSWERS

ROOT = Path(__file__).resolve().parents[3]
END_S = 20.0


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **changes}


def start(*args: str, socket: Path, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "napctl", *args],
        env=environment(NAPCTL_SOCKET=str(socket)),
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        **options,
    )


def run(*args: str, socket: Path, **changes: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "napctl", *args],
        env=environment(NAPCTL_SOCKET=str(socket), **changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=END_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "method"),
    [
        (["status"], "status"),
        (["wait", "3"], "queue.wait"),
        (["get", "3", "--wait"], "queue.wait"),
        (["watch"], "queue.watch"),
        (["events", "--follow"], "events"),
    ],
)
def test_ctrl_c_exits_with_130_and_a_line(line: list[str], method: str, sockets: Path) -> None:
    answers: dict[str, Any] = {name: [Silence()] for name in ("status", "queue.wait", "queue.watch", "events")}
    with FakeDaemon(sockets / "s", answers | {"get": downloads(download(3))}) as daemon:
        process = start(*line, socket=daemon.path)
        daemon.wait_for_request(method)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=END_S)
    assert process.returncode == 130
    assert out == b""
    assert err == b"napctl: interrupted. The daemon goes on with what it was asked.\n"


def test_ctrl_c_in_json_ends_the_stream_with_an_error_document(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"events": [Push("event", documents.EVENTS[0]), Silence()]}) as daemon:
        process = start("events", "--follow", "--json", socket=daemon.path)
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=END_S)
    assert json.loads(first) == documents.EVENTS[0]
    assert json.loads(rest)["error"]["code"] == "interrupted"
    assert (process.returncode, err) == (130, b"")


def test_a_stream_whose_reader_leaves_ends_quietly_even_if_nothing_more_happens(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"events": [Push("event", documents.EVENTS[0]), Silence()]}) as daemon:
        process = start("events", "--follow", socket=daemon.path)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(END_S) == 0
        assert process.stderr.read() == b""
        process.stderr.close()


@pytest.mark.parametrize(
    "line", [["events", "--follow"], ["events", "--follow", "--json"], ["watch"], ["watch", "--json"]]
)
def test_a_stream_that_finds_nobody_reading_ends(line: list[str], sockets: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    answers = {
        "events": [Push("event", documents.EVENTS[0]), Silence()],
        "queue.watch": [Push("downloads", documents.QUEUE), Silence()],
    }
    with FakeDaemon(sockets / "s", answers) as daemon:
        process = start(*line, socket=daemon.path, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=END_S)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    ("answer", "status"), [(downloads(done(3)), 0), (downloads(download(3, state="cancelled")), 1)]
)
def test_an_outcome_counts_though_nobody_reads_it(answer: dict[str, Any], status: int, sockets: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with FakeDaemon(sockets / "s", {"queue.wait": answer}) as daemon:
        process = start("wait", "3", "--json", socket=daemon.path, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=END_S)
    assert (process.returncode, err) == (status, b"")


@pytest.mark.parametrize(
    "line", [["--help"], ["queue"], ["queue", "--json"], ["watch"], ["events"], ["completion", "zsh"]]
)
def test_output_that_nobody_reads_is_no_error(line: list[str], sockets: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        process = start(*line, "--quiet", socket=daemon.path, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=END_S)
    assert (process.returncode, err) == (0, b"")


def test_output_that_cannot_be_written_is_an_error(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon, open("/dev/full", "wb") as full:
        for line in (["status"], ["status", "--json"]):
            process = start(*line, socket=daemon.path, stdout=full)
            _, err = process.communicate(timeout=END_S)
            assert process.returncode == 1
            assert b"No space left on device" in err


def test_closed_streams_are_no_trouble(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        command = f"{sys.executable} -m napctl status >&- 2>&-"
        ended = subprocess.run(
            command, shell=True, env=environment(NAPCTL_SOCKET=str(daemon.path)), timeout=END_S, check=False
        )
    assert ended.returncode == 0


def test_any_locale_prints_any_name(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", {"queue.list": documents.QUEUE}) as daemon:
        plain = run("queue", socket=daemon.path, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
        script = run("queue", "--json", socket=daemon.path, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert plain.returncode == 0 and b"big file.bin" in plain.stdout
    assert json.loads(script.stdout) == documents.QUEUE


def test_arguments_that_are_not_utf8_are_refused_or_printed_safely(sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        command: Sequence[bytes] = [os.fsencode(sys.executable), b"-m", b"napctl", b"share", b"add", b"/srv/caf\xe9"]
        environ = environment(NAPCTL_SOCKET=str(daemon.path))
        people = subprocess.run(command, env=environ, capture_output=True, timeout=END_S, check=False)
        script = subprocess.run([*command, b"--json"], env=environ, capture_output=True, timeout=END_S, check=False)
        assert daemon.requests == []
    assert people.returncode == script.returncode == 2
    assert b"caf\\xe9" in people.stderr and b"not UTF-8" in people.stderr
    assert "caf" in json.loads(script.stdout)["error"]["message"]


def test_watch_on_a_terminal_draws_bars_and_gives_the_cursor_back(sockets: Path) -> None:
    moving = downloads(download(3, state="active", bytes_done=32_100_000, name=documents.HOSTILE))
    ended = downloads(done(3, name=documents.HOSTILE))
    answers = {"queue.watch": [Push("downloads", moving), Push("downloads", ended), Reply(ended)]}
    with FakeDaemon(sockets / "s", answers) as daemon:
        pid, terminal = pty.fork()
        if pid == 0:
            changes = environment(NAPCTL_SOCKET=str(daemon.path), COLUMNS="100", LINES="30")
            os.execve(sys.executable, [sys.executable, "-m", "napctl", "watch"], changes)
        shown = _read_all(terminal)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"50%" in shown and b"100%" in shown and "━".encode() in shown
    assert b"\\x1b[31mred" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")


def _read_all(terminal: int) -> bytes:
    read = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side is gone
            data = b""
        if not data:
            os.close(terminal)
            return read
        read += data


IMPORTS = """
import sys
from napctl.main import run
status = run(sys.argv[1:], {{"NAPCTL_SOCKET": {socket!r}, "TERM": "xterm"}}, sys.stdout, sys.stderr)
sys.stderr.write(",".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
sys.exit(status)
"""


@pytest.mark.parametrize("line", [["--help"], ["status"], ["queue"], ["get", "3", "--wait"], ["search", "--help"]])
def test_neither_twisted_nor_rich_is_imported_for_plain_commands(line: list[str], sockets: Path) -> None:
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        program = IMPORTS.format(socket=str(daemon.path))
        ended = subprocess.run(
            [sys.executable, "-c", program, *line],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=END_S,
            check=True,
        )
    imported = set(ended.stderr.splitlines()[-1].split(","))
    assert "click" in imported
    assert imported.isdisjoint({"twisted", "zope", "attr", "attrs", "rich", "OpenSSL", "cryptography"})


def test_it_starts_in_a_fraction_of_a_second(sockets: Path) -> None:
    # The budget is 150 ms (`make bench` measures it); this only catches an import that should not be there.
    with FakeDaemon(sockets / "s", ANSWERS) as daemon:
        best = min(_timed("status", socket=daemon.path) for _ in range(5))
    assert best < 1.0


def _timed(*args: str, socket: Path) -> float:
    begun = time.perf_counter()
    assert run(*args, socket=socket).returncode == 0
    return time.perf_counter() - begun
