"""The frame around a daemon: start, readiness, common methods, reload, the end. In one process, on a virtual clock."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from napd.errors import CannotStart, ConfigurationError
from napd.ops.control_connection import Caller, Connection, Handler
from napd.ops.daemon import LAST_RESORT_S, STOP_S, DaemonService, Frame
from napd.ops.listening import Listening, listen
from napd.ops.settings import INDEX_SETTINGS
from napd.ops.twistd import DaemonOptions
from napd.wire.control import COMMON_METHODS, Nothing
from tests.conftest import LoggedFailures
from tests.unit.ops.test_control import Wire

ID = "i" * 52


class Options(DaemonOptions):
    program = "napindex"
    settings = INDEX_SETTINGS


class Reactor(MemoryReactorClock):
    """Keeps what it is told instead of doing it."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)


class Daemon:
    """A composition: a port, and methods that answer at once."""

    ready_fields: Mapping[str, str] = {"index": ID}
    method_params: Mapping[str, type[Struct]] = COMMON_METHODS | {"slow": Nothing}

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.listening: Listening = listen(frame.reactor, frame.values["listen"], Factory())
        self.reloaded: list[Any] = []
        self.stopping: Deferred[None] | None = None
        self.stopped = False
        self.methods: Mapping[str, Handler] = {"status": self.status}

    @property
    def listen(self) -> str:
        return self.listening.address

    async def status(self, params: Nothing, caller: Caller) -> Any:
        return {"schema": 1, "fine": True}

    def status_line(self) -> str:
        return "fine"

    async def reload(self) -> None:
        self.reloaded.append(self.frame.values)

    async def stop(self) -> None:
        if self.stopping is not None:
            await self.stopping
        self.stopped = True


class Life:
    """One daemon's life in memory."""

    def __init__(self, folder: Path, *options: str, daemonise: bool = False) -> None:
        self.state = folder / "state"
        self.reactor = Reactor()
        self.options = Options()
        self.twistd = ServerOptions()
        self.twistd["nodaemon"] = not daemonise
        self.options.parent = self.twistd
        self.options.parseOptions(["--state", str(self.state), "--listen", "tcp:7000", *options])
        self.daemon: Daemon | None = None
        self.ended: list[int] = []
        self.service = DaemonService(self.reactor, self.options, self.compose, end_process=self.ended.append)
        self.events: list[Any] = []

    def compose(self, frame: Frame) -> Daemon:
        frame.events.listen(self.events.append)
        self.daemon = Daemon(frame)
        return self.daemon

    def start(self) -> Daemon:
        self.service.startService()
        self.reactor.running = True
        for call, args, kwargs in self.reactor.whenRunningHooks:
            call(*args, **kwargs)
        assert self.daemon is not None
        return self.daemon

    def stop(self) -> Deferred[None]:
        return self.service.stopService()

    def names(self) -> list[str]:
        return [event.event for event in self.events]

    def connection(self) -> tuple[Connection, Wire]:
        _, factory, *_ = self.reactor.unixServers[0]
        protocol, transport = factory.buildProtocol(None), Wire()
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, method: str, **params: Any) -> Any:
        protocol, transport = self.connection()
        protocol.dataReceived(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        )
        said = transport.documents()
        protocol.connectionLost(Failure(connectionDone.value))
        return said


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path)
    yield made
    if made.service.running:
        made.stop()


def test_it_is_ready_when_the_reactor_runs_and_not_before(life: Life) -> None:
    life.service.startService()
    assert "daemon.ready" not in life.names()
    life.service.running = False
    for call, args, kwargs in life.reactor.whenRunningHooks:
        call(*args, **kwargs)
    ready = life.events[-1]
    assert ready.event == "daemon.ready"
    assert ready.fields == {"listen": "0.0.0.0:7000", "index": ID}
    life.service.running = True


def test_the_control_socket_is_private_and_serves_both_sets_of_methods(life: Life) -> None:
    life.start()
    path, _, _, mode, _ = life.reactor.unixServers[0]
    assert (path, mode) == (str(life.state / "control.sock"), 0o600)
    assert life.ask("status")[0]["result"] == {"schema": 1, "fine": True}
    assert life.ask("version")[0]["result"] == {"schema": 1, "client": "", "daemon": "0.1.0", "protocol": 1}
    assert life.ask("slow")[0]["error"]["code"] == -32601


def test_remembered_events_come_and_then_the_reply(life: Life) -> None:
    daemon = life.start()
    for n in range(1000):
        daemon.frame.events.emit("share.removed", share=str(n))
    *pushed, reply = life.ask("events", type="share.*")
    assert [said["params"]["share"] for said in pushed] == [str(n) for n in range(1000)]
    assert all(said["params"]["schema"] == 1 for said in pushed)
    assert reply["result"]["schema"] == 1
    later = life.ask("events", since=pushed[997]["params"]["id"])
    assert [said["params"]["share"] for said in later[:-1]] == ["998", "999"]


def test_following_goes_on_until_the_caller_leaves(life: Life) -> None:
    daemon = life.start()
    protocol, transport = life.connection()
    protocol.dataReceived(b'{"jsonrpc":"2.0","id":1,"method":"events","params":{"follow":true,"type":"share.*"}}\n')
    assert transport.documents() == []
    daemon.frame.events.emit("share.removed", share="a")
    daemon.frame.events.emit("session.closed", user="u")
    daemon.frame.events.emit("share.removed", share="b")
    assert [said["params"]["share"] for said in transport.documents()] == ["a", "b"]
    protocol.connectionLost(Failure(connectionDone.value))
    daemon.frame.events.emit("share.removed", share="c")
    assert transport.documents() == []


def test_a_follower_that_reads_slowly_misses_nothing_of_the_past(life: Life) -> None:
    daemon = life.start()
    for n in range(500):
        daemon.frame.events.emit("share.removed", share=str(n))
    protocol, transport = life.connection()
    protocol.pauseProducing()
    protocol.dataReceived(b'{"jsonrpc":"2.0","id":1,"method":"events","params":{"follow":true,"type":"share.*"}}\n')
    protocol.resumeProducing()
    protocol.pauseProducing()
    daemon.frame.events.emit("share.removed", share="500")
    for _ in range(5):
        protocol.resumeProducing()
    daemon.frame.events.emit("share.removed", share="501")
    assert [int(said["params"]["share"]) for said in transport.documents()] == list(range(502))
    protocol.connectionLost(Failure(connectionDone.value))


def test_reload_reads_the_file_again_and_says_what_needs_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "napd.toml"
    file.write_text('log_format = "json"\n')
    life = Life(tmp_path, "--config", str(file))
    daemon = life.start()
    file.write_text('log_format = "text"\n')
    said = life.ask("reload")[0]["result"]["message"]
    assert "needs a restart: log_format" in said
    assert daemon.reloaded[0]["log_format"] == "json"
    assert life.events[-1].event == "daemon.reloaded"
    file.write_text("colour = 1\n")
    refused = life.ask("reload")[0]["error"]
    assert refused["data"]["code"] == "configuration"
    assert "unknown key 'colour'" in refused["message"]
    assert len(daemon.reloaded) == 1
    life.stop()


def test_sighup_reloads_and_a_wrong_file_is_only_told(tmp_path: Path) -> None:
    file = tmp_path / "napd.toml"
    file.write_text("")
    life = Life(tmp_path, "--config", str(file))
    life.start()
    os.kill(os.getpid(), signal.SIGHUP)
    assert life.names()[-1] == "daemon.reloaded"
    file.write_text("colour = 1\n")
    os.kill(os.getpid(), signal.SIGHUP)
    assert life.names()[-1] == "daemon.reload_failed"
    life.stop()


def test_sigterm_ends_it_and_the_signals_are_given_back(life: Life) -> None:
    before = signal.getsignal(signal.SIGTERM)
    daemon = life.start()
    os.kill(os.getpid(), signal.SIGTERM)
    assert life.reactor.stopped == 1
    done = life.stop()
    assert done.called
    assert daemon.stopped
    assert life.events[-1].fields == {"reason": "SIGTERM"}
    assert signal.getsignal(signal.SIGTERM) is before


def test_shutdown_replies_when_everything_is_saved_and_the_state_is_free(life: Life, tmp_path: Path) -> None:
    daemon = life.start()
    daemon.stopping = Deferred()
    protocol, transport = life.connection()
    protocol.dataReceived(b'{"jsonrpc":"2.0","id":1,"method":"shutdown"}\n')
    assert life.reactor.stopped == 1
    done = life.stop()
    assert transport.documents() == []
    daemon.stopping.callback(None)
    assert transport.documents()[0]["result"]["message"] == "the daemon has stopped"
    assert transport.disconnecting
    Life(tmp_path).service.startService()
    protocol.connectionLost(Failure(connectionDone.value))
    assert done.called


def test_a_composition_that_does_not_end_is_left_behind(life: Life, logged_failures: LoggedFailures) -> None:
    daemon = life.start()
    daemon.stopping = Deferred()
    done = life.stop()
    life.reactor.advance(STOP_S - 0.1)
    assert not done.called
    life.reactor.advance(0.2)
    assert done.called
    assert life.names()[-1] == "daemon.fault"
    assert STOP_S < LAST_RESORT_S < 10


def test_a_composition_that_fails_to_end_does_not_stop_the_end(life: Life) -> None:
    daemon = life.start()
    daemon.stopping = Deferred()
    done = life.stop()
    daemon.stopping.errback(Failure(ZeroDivisionError("by zero")))
    assert done.called
    assert life.names()[-1] == "daemon.fault"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CannotStart("the port is taken", "Take another"), 1),
        (ConfigurationError("the key is no key"), 78),
        (CannotListenError("", 7000, OSError(errno.EADDRINUSE, "in use")), 1),
        (ZeroDivisionError("by zero"), 1),
    ],
)
def test_what_prevents_the_start_is_one_line_and_an_exit_status(
    life: Life, error: Exception, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(frame: Frame) -> Daemon:
        raise error

    life.compose = fail  # type: ignore[method-assign]
    life.service = DaemonService(life.reactor, life.options, fail)
    with pytest.raises(SystemExit) as ended:
        life.service.startService()
    assert ended.value.code == status
    said = capfd.readouterr().err
    assert said.startswith("napindex: ")
    assert said.count("\n") == 1


def test_in_the_background_it_is_told_to_the_stderr_of_before_and_to_twistd(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    life = Life(tmp_path, daemonise=True)

    def fail(frame: Frame) -> Daemon:
        raise CannotStart("the port is taken")

    life.service = DaemonService(life.reactor, life.options, fail)
    with pytest.raises(CannotStart):
        life.service.startService()
    assert capfd.readouterr().err == "napindex: the port is taken\n"


def test_twistd_is_told_what_a_daemon_needs(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    os.umask(mask)
    foreground = Life(tmp_path / "a")
    assert foreground.twistd["logger"] == "napd.ops.twistd.log_observer"
    assert foreground.twistd["pidfile"] == ""
    assert foreground.twistd["umask"] == mask
    background = Life(tmp_path / "b", daemonise=True)
    assert background.twistd["pidfile"] == str(background.state / "twistd.pid")
    background.options.open_log()
    assert (background.state / "napindex.log").exists()


@pytest.mark.parametrize(("name", "value"), [("logger", "some.logger"), ("pidfile", "my.pid"), ("umask", 0o027)])
def test_what_the_user_told_twistd_stands(tmp_path: Path, name: str, value: Any) -> None:
    twistd = ServerOptions()
    twistd["nodaemon"] = False
    twistd[name] = value
    options = Options()
    options.parent = twistd
    options.parseOptions(["--state", str(tmp_path)])
    assert twistd[name] == value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--colour"], "option --colour not recognized; allowed: --config, --state, "),
        (["--listen"], "option --listen requires argument"),
        (["extra"], "unexpected argument 'extra'"),
        (["--listen", "nonsense"], "is not a server endpoint"),
        (["--auth", "accounts"], "in this version"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_78(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--state", str(tmp_path), *arguments])
    assert ended.value.code == 78
    written = capsys.readouterr().err
    assert said in written
    assert written.count("\n") == 1


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_are_answers(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions([argument])
    assert ended.value.code in (0, None)
    assert "napindex" in capsys.readouterr().out


def test_every_option_of_the_contract_is_in_the_help() -> None:
    text = str(Options())
    for flag in "config state socket listen identity database auth log-format log-file".split():  # noqa: SIM905
        assert f"--{flag}=" in text
    assert isinstance(Options(), usage.Options)
