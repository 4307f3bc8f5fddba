"""Both daemons as real processes: what the operator's contract says of starting, refusing, stopping, logging."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import DaemonProcess, Processes, environment, twistd
from tests.support.waiting import until

PROGRAMS = ("napindex", "nappeer")
LISTEN = "tcp:0:interface=127.0.0.1"


@pytest.fixture(params=PROGRAMS)
def daemon(request: pytest.FixtureRequest, processes: Processes) -> DaemonProcess:
    """One of the two, not started."""
    if request.param == "napindex":
        return processes.index(start=False)
    return processes.peer("ada", start=False)


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short path, and no daemon left in it that went into the background."""
    made = tmp_path_factory.mktemp("b")
    yield made
    for pidfile in made.rglob("*.pid"):
        try:
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
        except (OSError, ValueError):
            continue


def run(
    program: str, *options: str, folder: Path, front: tuple[str, ...] = ("-n",)
) -> subprocess.CompletedProcess[str]:
    """A twistd that is expected to end, or to go into the background."""
    command = [twistd(), *front, program, *options]
    env = environment(HOME=str(folder))
    # Files, not pipes: a daemon in the background must not be waited for because it holds one open.
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        done = subprocess.run(command, cwd=folder, env=env, stdout=out, stderr=err, timeout=30, check=False)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def events_of(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_bytes().split(b"\n") if line] if log.exists() else []


def logged(log: Path, event: str) -> list[dict[str, object]]:
    return [said for said in events_of(log) if said["event"] == event]


def test_ready_says_where_and_who(daemon: DaemonProcess) -> None:
    daemon.start()
    (ready,) = daemon.seen("daemon.ready")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", ready["listen"])
    assert re.fullmatch(r"[a-z2-7]{52}", ready["index" if daemon.program == "napindex" else "peer"])
    host, _, port = ready["listen"].partition(":")
    with socket.create_connection((host, int(port)), 5):
        pass
    # Whatever the daemon writes, it is JSON with these keys, from the first line on.
    for event in daemon.events:
        assert {"time", "level", "event", "message"} <= event.keys()
        assert event["event"] != "not.json"


def test_both_answer_the_common_commands(daemon: DaemonProcess) -> None:
    daemon.start()
    assert daemon.ctl("version").json["daemon"] == "0.1.0"
    assert daemon.ctl("status").json["schema"] == 1
    assert daemon.ctl("events").documents[-1]["schema"] == 1
    assert "daemon.ready" in {said.get("event") for said in daemon.ctl("events").documents}
    assert daemon.ctl("reload").status == 0
    assert daemon.ctl("shutdown").status == 0
    assert daemon.process.wait(10) == 0
    assert not daemon.socket.exists()


def test_the_port_and_the_key_are_kept_over_a_kill(daemon: DaemonProcess) -> None:
    daemon.start()
    address, identity = daemon.address, daemon.id
    daemon.kill()
    assert daemon.socket.exists()
    daemon.address = ""
    daemon.start()
    assert (daemon.address, daemon.id) == (address, identity)


def test_sigterm_ends_it_cleanly_within_ten_seconds(daemon: DaemonProcess) -> None:
    daemon.start()
    began = time.monotonic()
    assert daemon.terminate() == 0
    assert time.monotonic() - began < 10
    assert daemon.seen("daemon.stopping", reason="SIGTERM")
    assert not daemon.socket.exists()
    assert daemon.seen("daemon.fault") == []


def test_state_and_socket_are_private_and_a_wide_state_is_narrowed(daemon: DaemonProcess) -> None:
    daemon.state.mkdir(parents=True)
    daemon.state.chmod(0o755)
    daemon.start()
    assert stat.S_IMODE(daemon.state.stat().st_mode) == 0o700
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert daemon.seen("state.narrowed", mode="755")


def test_the_second_daemon_on_a_state_is_refused_and_the_first_goes_on(daemon: DaemonProcess, folder: Path) -> None:
    daemon.start()
    for front in (("-n",), ()):
        second = run(daemon.program, "--state", str(daemon.state), "--listen", LISTEN, folder=folder, front=front)
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert str(daemon.state) in second.stderr
        assert str(daemon.process.pid) in second.stderr
    assert daemon.ctl("status").status == 0


def test_a_busy_port_is_refused_with_status_1(program: str, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for front in (("-n",), ()):
            options = ("--state", str(folder / "state"), "--listen", f"tcp:{port}:interface=127.0.0.1")
            refused = run(program, *options, folder=folder, front=front)
            assert refused.returncode == 1
            assert refused.stderr.startswith(f"{program}: cannot listen on tcp:{port}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--colour", "red"), "--colour"),
        (("--listen", "nonsense"), "tcp:PORT"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--config", "bad.toml"), "unknown key 'colour'; allowed: "),
        (("--socket", "x" * 120), "limit is 107"),
        (("--state", "file"), "not a directory"),
        (("stray",), "stray"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_status_78(
    program: str, folder: Path, options: tuple[str, ...], said: str
) -> None:
    (folder / "bad.toml").write_text("colour = 'red'\n")
    (folder / "file").touch()
    for front in (("-n",), ()):
        refused = run(program, *options, folder=folder, front=front)
        assert refused.returncode == 78
        assert refused.stdout == ""
        assert refused.stderr.count("\n") == 1
        assert said in refused.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["bad.toml", "err", "file", "out"]


def test_a_state_of_a_newer_schema_is_refused_and_left_alone(daemon: DaemonProcess, folder: Path) -> None:
    daemon.start()
    daemon.terminate()
    databases = [path for path in daemon.state.iterdir() if path.read_bytes()[:15] == b"SQLite format 3"]
    assert databases
    for path in databases:
        connection = sqlite3.connect(path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 999")
        connection.close()
        before = path.read_bytes()
        for front in (("-n",), ()):
            options = ("--state", str(daemon.state), "--listen", LISTEN)
            refused = run(daemon.program, *options, folder=folder, front=front)
            assert refused.returncode == 78
            assert "schema 999" in refused.stderr
            assert path.name in refused.stderr
        assert path.read_bytes() == before
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {version:d}")
        connection.close()
    daemon.restart()


def test_in_the_background_it_logs_and_keeps_its_pid_in_the_state_directory(program: str, folder: Path) -> None:
    state = folder / "state"
    started = run(program, "--state", "state", "--listen", LISTEN, folder=folder, front=())
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    log = state / f"{program}.log"
    until(lambda: logged(log, "daemon.ready"), "daemon.ready in the log")
    pid = int((state / "twistd.pid").read_text())
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    # Finished downloads get 0666 less the umask that the user started it with, which twistd would have made 077.
    (mask,) = re.findall(r"^Umask:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert int(mask, 8) == int(re.findall(r"Umask:\s+(\d+)", Path("/proc/self/status").read_text())[0], 8)
    assert sorted(path.name for path in folder.iterdir() if path.name not in ("out", "err", "Downloads")) == ["state"]

    os.kill(pid, signal.SIGKILL)
    # The dead one's number may be another process's by now; the lock says that nobody is here.
    (state / "twistd.pid").write_text(str(os.getpid()))
    assert run(program, "--state", "state", "--listen", LISTEN, folder=folder, front=()).returncode == 0
    until(lambda: len(logged(log, "daemon.ready")) == 2, "daemon.ready again")
    os.kill(int((state / "twistd.pid").read_text()), signal.SIGTERM)
    until(lambda: not (state / "twistd.pid").exists(), "the pidfile is gone")


def test_a_log_file_is_rotated_by_moving_or_truncating_it(daemon: DaemonProcess) -> None:
    daemon.folder.mkdir(exist_ok=True)
    log = daemon.folder / "my.log"
    daemon.options = [*daemon.options, "--log-file", "my.log"]
    daemon.begin()
    until(lambda: logged(log, "daemon.ready"), "daemon.ready in the log")
    log.rename(daemon.folder / "my.log.1")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: logged(log, "daemon.reloaded"), "the new file")
    os.truncate(log, 0)
    daemon.process.send_signal(signal.SIGUSR1)
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: logged(log, "daemon.reloaded"), "the truncated file")
    assert log.read_bytes()[:1] == b"{"
    assert daemon.terminate() == 0
    assert logged(log, "daemon.stopping")
    assert daemon.raw == []


def test_twistds_own_options_still_work(program: str, folder: Path) -> None:
    options = ("--state", "state", "--listen", LISTEN)
    front = ("--pidfile", "mine.pid", "--logfile", "mine.log")
    assert run(program, *options, folder=folder, front=front).returncode == 0
    until(lambda: logged(folder / "mine.log", "daemon.ready"), "daemon.ready in the log")
    pid = int((folder / "mine.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until(lambda: not (folder / "mine.pid").exists(), "the pidfile is gone")


class Systemd:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def told(self, part: str) -> list[str]:
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return [message for message in self.heard if part in message.split("\n")]


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    made = Systemd(tmp_path_factory.mktemp("s") / "notify")
    yield made
    made.socket.close()


def test_systemd_is_told_ready_alive_reloading_and_stopping(daemon: DaemonProcess, systemd: Systemd) -> None:
    daemon.env = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "400000"}
    daemon.start()
    until(lambda: systemd.told("READY=1"), "READY=1")
    assert systemd.heard[0].startswith("READY=1\nSTATUS=")
    until(lambda: len(systemd.told("WATCHDOG=1")) >= 3, "the watchdog's food")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: len(systemd.told("READY=1")) == 2, "READY=1 after a reload")
    reloading = systemd.told("RELOADING=1")[0]
    assert re.search(r"^MONOTONIC_USEC=\d+$", reloading, re.MULTILINE)
    daemon.terminate()
    assert systemd.told("STOPPING=1")


def test_a_daemon_that_hangs_starves_the_watchdog(daemon: DaemonProcess, systemd: Systemd) -> None:
    daemon.env = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "200000"}
    daemon.start()
    until(lambda: systemd.told("WATCHDOG=1"), "the watchdog's food")
    daemon.pause()
    systemd.told("")
    fed = len(systemd.told("WATCHDOG=1"))
    with pytest.raises(AssertionError):
        until(lambda: len(systemd.told("WATCHDOG=1")) > fed + 1, "food", timeout=0.5)
    daemon.go_on()


@pytest.mark.parametrize("directory", ["/", "/etc", "/proc/self", "."])
def test_a_configured_share_that_must_not_be_is_refused_before_the_start(folder: Path, directory: str) -> None:
    options = ["--state", "state", "--listen", LISTEN, "--share", directory]
    # The working directory is the home here, which must not be shared as a whole.
    done = run("nappeer", *options, folder=folder)

    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert "must not be shared" in done.stderr


def test_two_configured_shares_of_one_name_are_refused_with_a_way_out(folder: Path) -> None:
    for made in ("a/music", "b/music"):
        (folder / made).mkdir(parents=True)

    done = run(
        "nappeer", "--state", "state", "--listen", LISTEN, "--share", "a/music", "--share", "b/music", folder=folder
    )

    assert done.returncode == 78
    assert "=NAME" in done.stderr
