"""The log: complete lines, in either form, whoever speaks and whatever happens to the file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from napd.errors import ConfigurationError
from napd.ops import logging as napd_logging
from napd.ops.events import Event, Events
from napd.ops.logging import MAX_GATHERED, FileSink, LogWriter, StreamSink, json_line, text_line
from tests.conftest import LoggedFailures


class Lines:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.reopened = 0

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def reopen(self) -> None:
        self.reopened += 1

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for text in self.lines for line in text.splitlines()]


def event(**fields: Any) -> Event:
    return Event(7, 1767325445.678, "info", "share.added", "A directory is offered.", fields)


def test_a_json_line_is_one_object_with_the_promised_keys_first() -> None:
    line = json_line(event(share="mu\nsic", directory="/srv/music"))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert list(json.loads(line).items()) == [
        ("time", "2026-01-02T03:44:05.678Z"),
        ("level", "info"),
        ("event", "share.added"),
        ("message", "A directory is offered."),
        ("share", "mu\nsic"),
        ("directory", "/srv/music"),
    ]


def test_a_text_line_is_for_people() -> None:
    line = text_line(event(share="my music", bytes=3, peers=["a"])).decode()
    assert line.rstrip("\n").partition(" info ")[2] == (
        ' share.added            A directory is offered. share="my music" bytes=3 peers=["a"]'
    )


def test_a_traceback_follows_a_text_line_indented() -> None:
    lines = text_line(event(traceback="Traceback:\n  boom")).decode().splitlines()
    assert lines[1:] == ["    Traceback:", "      boom"]


@given(st.dictionaries(st.sampled_from(["user", "error"]), st.text() | st.integers() | st.floats(allow_nan=False)))
def test_whatever_an_event_carries_it_is_one_line_in_json(fields: dict[str, Any]) -> None:
    said: list[Event] = []
    events = Events(lambda: 1.0)
    events.listen(said.append)
    events.emit("session.closed", str(fields), reason=fields.get("error"), user=fields.get("user"))
    for written in (json_line(said[0]), text_line(said[0])):
        assert written.count(b"\n") == 1
    assert json.loads(json_line(said[0]))["event"] == "session.closed"


def test_twisteds_own_messages_are_log_twisted() -> None:
    lines = Lines()
    logger = Logger("some.part", observer=LogWriter("json", lines))
    logger.info("starting {what}", what="it\nall")
    logger.warn("careful")
    logger.critical("bad")
    assert [(said["level"], said["event"], said["message"], said["namespace"]) for said in lines.events()] == [
        ("info", "log.twisted", "starting it\\nall", "some.part"),
        ("warn", "log.twisted", "careful", "some.part"),
        ("error", "log.twisted", "bad", "some.part"),
    ]


def test_a_failure_nobody_handled_is_a_fault_that_napctl_sees_too() -> None:
    lines, events = Lines(), Events(lambda: 1.0)
    writer = LogWriter("json", lines)
    detach = writer.attach(events)
    logger = Logger("twisted.internet.defer", observer=writer)
    logger.failure("Unhandled error in Deferred", Failure(ZeroDivisionError("by zero")), LogLevel.critical)
    (said,) = lines.events()
    assert (said["event"], said["level"], said["error"]) == ("daemon.fault", "error", "by zero")
    assert "ZeroDivisionError" in said["traceback"]
    assert [event.event for event in events.remembered()] == ["daemon.fault"]
    detach()
    logger.failure("later", Failure(ZeroDivisionError("again")))
    later = lines.events()[-1]
    assert (later["event"], later["level"], later["error"]) == ("log.twisted", "error", "again")


class Turn:
    """The reactor's next turn."""

    def __init__(self, *, running: bool = True) -> None:
        self.running = running
        self.due: list[Callable[[], None]] = []

    def later(self, work: Callable[[], None]) -> bool:
        self.due += [work] if self.running else []
        return self.running

    def come(self) -> None:
        due, self.due = self.due, []
        for work in due:
            work()


def test_lines_of_one_turn_are_written_together_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napd.ops.logging.isInIOThread", lambda: True)
    lines, turn = Lines(), Turn()
    writes = lines.lines
    writer, events = LogWriter("json", lines), Events(lambda: 1.0)
    detach = writer.attach(events, turn.later)
    for _ in range(3):
        events.emit("download.paused", download=1, transfer="t")
    assert not writes
    turn.come()
    assert [text.count(b"\n") for text in writes] == [3]

    events.emit("download.paused", download=2, transfer="t")
    events.emit("daemon.fault", "it broke")
    assert [json.loads(line)["event"] for line in writes[1].splitlines()] == ["download.paused", "daemon.fault"]

    events.emit("download.paused", download=3, transfer="t")
    detach()
    assert len(writes) == 3
    turn.come()
    assert len(writes) == 3


def test_many_lines_do_not_wait_for_the_end_of_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napd.ops.logging.isInIOThread", lambda: True)
    lines, turn = Lines(), Turn()
    writer, events = LogWriter("json", lines), Events(lambda: 1.0)
    writer.attach(events, turn.later)
    for _ in range(MAX_GATHERED):
        events.emit("download.paused", download=1, transfer="t")
    assert len(lines.events()) == MAX_GATHERED


def test_without_a_reactor_that_runs_each_line_is_written_at_once() -> None:
    lines, events = Lines(), Events(lambda: 1.0)
    LogWriter("json", lines).attach(events, Turn(running=False).later)
    events.emit("download.paused", download=1, transfer="t")
    assert len(lines.events()) == 1


def test_a_failure_in_reporting_a_failure_ends_there() -> None:
    lines, events = Lines(), Events(lambda: 1.0)
    writer = LogWriter("json", lines)
    writer.attach(events)
    logger = Logger("x", observer=writer)
    events.listen(lambda heard: logger.failure("again", Failure(ValueError("while reporting"))))
    logger.failure("first", Failure(ZeroDivisionError("by zero")))
    assert [said["event"] for said in lines.events()] == ["daemon.fault", "log.twisted"]


def test_lines_from_many_threads_do_not_mix(tmp_path: Path) -> None:
    writer = LogWriter("json", FileSink(tmp_path / "log"))
    long = "x" * 3000

    def say(n: int) -> None:
        for _ in range(200):
            writer.write(event(n=n, long=long))

    threads = [threading.Thread(target=say, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert sorted(json.loads(line)["n"] for line in lines) == sorted([0, 1, 2, 3] * 200)


def test_a_log_file_that_was_moved_away_is_begun_anew_at_the_next_line(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log")
    sink.write(b"one\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    sink.write(b"two\n")
    (tmp_path / "log").unlink()
    sink.write(b"three\n")
    assert (tmp_path / "log.1").read_bytes() == b"one\n"
    assert (tmp_path / "log").read_bytes() == b"three\n"
    assert (tmp_path / "log").stat().st_mode & 0o137 == 0


def test_a_log_file_that_was_truncated_goes_on_from_its_start(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log")
    sink.write(b"one\n" * 100)
    os.truncate(tmp_path / "log", 0)
    sink.write(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"two\n"


def test_a_log_file_whose_directory_is_gone_is_written_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    sink = FileSink(tmp_path / "logs" / "log")
    (tmp_path / "logs").rename(tmp_path / "old")
    sink.write(b"one\n")
    assert (tmp_path / "old" / "log").read_bytes() == b"one\n"


def test_a_log_file_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"log file .* cannot be written"):
        FileSink(tmp_path)


def test_a_reader_that_is_gone_does_not_stop_the_daemon() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    StreamSink(writing).write(b"nobody reads this\n")
    os.close(writing)


def test_a_reader_that_is_slow_gets_whole_lines_again_after_a_cut_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(napd_logging, "PATIENCE_S", 0.01)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = StreamSink(writing)
    sink.write(b"a" * 100_000 + b"\n")
    taken = os.read(reading, 1 << 20)
    assert set(taken) == {ord("a")}
    sink.write(b"b\n")
    assert os.read(reading, 100) == b"\nb\n"
    os.close(reading)
    os.close(writing)


def test_with_a_logger_of_twisteds_the_events_go_there(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[dict[str, Any]] = []
    publisher = LogPublisher(heard.append)  # type: ignore[arg-type]
    monkeypatch.setattr(napd_logging, "_framework", Logger("napd", observer=publisher))
    napd_logging.to_framework(event(share="music"))
    assert heard[0]["log_level"] is LogLevel.info
    assert heard[0]["event"] == "share.added"


def test_the_test_suite_itself_sees_logged_failures(logged_failures: LoggedFailures) -> None:
    Logger("x").failure("meant", Failure(ZeroDivisionError("by zero")))
    assert len(logged_failures.flush(ZeroDivisionError)) == 1
