"""Real daemons as real processes, each in a folder of its own, and `napctl` against them.

Their logs are JSON lines on stdout, read as they come: `wait_for_event` is how tests know what happened. Everything
blocks; use plain test functions. Daemons that a test leaves running are killed by the `processes` fixture's end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from attrs import define, field, frozen

from napctl.client import Client

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that a daemon may take to be ready, on a busy machine.
READY_S = 30.0
#: Seconds within which SIGTERM must have ended a daemon, and a margin.
STOP_S = 12.0
#: Lines of the log that a failed wait shows.
SHOWN = 40

_NAPCTL = "import sys; from napctl.main import main; sys.exit(main())"


def environment(**more: str) -> dict[str, str]:
    """The tests' own, with this tree on the path, and without what would change a daemon's defaults."""
    dropped = (
        "NAPCTL_SOCKET",
        "STATE_DIRECTORY",
        "NOTIFY_SOCKET",
        "XDG_STATE_HOME",
        "XDG_DOWNLOAD_DIR",
        "WATCHDOG_USEC",
    )
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def twistd() -> str:
    """The installed twistd, beside the Python that runs the tests."""
    return str(Path(sys.executable).parent / "twistd")


@frozen
class Outcome:
    """What a command did: its exit status, and the JSON documents on its stdout."""

    status: int
    documents: tuple[Any, ...]
    stderr: str

    @property
    def json(self) -> Any:
        """The one document."""
        if len(self.documents) != 1:
            raise AssertionError(f"{len(self.documents)} documents, exit status {self.status}, stderr: {self.stderr}")
        return self.documents[0]


@define(eq=False)
class DaemonProcess:
    """One daemon. `start` and `restart` return when it is ready.

    :ivar events: every event of all its runs, oldest first.
    """

    program: str
    folder: Path
    options: Sequence[str] = ()
    env: Mapping[str, str] = field(factory=dict)
    events: list[dict[str, Any]] = field(factory=list, init=False)
    raw: list[str] = field(factory=list, init=False)
    process: subprocess.Popen[bytes] = field(init=False)
    address: str = field(default="", init=False)
    id: str = field(default="", init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _reader: threading.Thread = field(init=False)
    _begun: bool = field(default=False, init=False)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def socket(self) -> Path:
        return self.state / "control.sock"

    @property
    def running(self) -> bool:
        return self._begun and self.process.poll() is None

    def command(self) -> list[str]:
        listen = f"tcp:{self.address.rpartition(':')[2] or 0}:interface=127.0.0.1"
        return [
            twistd(), "-n", self.program, "--state", str(self.state), "--listen", listen, "--log-format", "json",
            *self.options,
        ]  # fmt: skip

    def begin(self) -> None:
        """Start the process without waiting for anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=environment(HOME=str(self.folder), **self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._begun = True
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def start(self) -> None:
        mark = self.mark()
        self.begin()
        ready = self.wait_for_event("daemon.ready", after=mark, timeout=READY_S)
        self.address = ready["listen"]
        self.id = ready.get("peer") or ready["index"]

    def restart(self) -> None:
        """Start again on the same port, after `terminate` or `kill`."""
        self.start()

    def kill(self) -> None:
        """SIGKILL: no last word."""
        self._signal(signal.SIGKILL)
        self._ended(5)

    def terminate(self) -> int:
        """SIGTERM, and the exit status."""
        self._signal(signal.SIGTERM)
        return self._ended(STOP_S)

    def pause(self) -> None:
        """SIGSTOP: connections stay and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """Of the daemon and of the processes that it has started."""
        return sum(map(_resident_bytes, [self.process.pid, *self.children()]))

    def children(self) -> list[int]:
        """The processes that it has started."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def mark(self) -> int:
        """A place in the log, for `after`."""
        with self._changed:
            return len(self.events)

    def seen(self, name: str, *, after: int = 0, **fields: Any) -> list[dict[str, Any]]:
        """All such events so far."""
        with self._changed:
            return [event for event in self.events[after:] if _is(event, name, fields)]

    def wait_for_event(self, name: str, *, after: int = 0, timeout: float = 15.0, **fields: Any) -> dict[str, Any]:
        """The first such event from the mark `after` on; it may have happened already."""
        deadline = time.monotonic() + timeout
        looked_at = after
        with self._changed:
            while True:
                for event in self.events[looked_at:]:
                    if _is(event, name, fields):
                        return event
                looked_at = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or (not self.running and not self._reader.is_alive()):
                    break
                self._changed.wait(min(left, 0.2))
        wanted = " ".join([name, *(f"{key}={value!r}" for key, value in fields.items())])
        how = f"not within {timeout:g} s" if self.running else f"{self.program} ended ({self.process.poll()}) before"
        raise AssertionError(f"{how}: {wanted}\n" + self.tail())

    def tail(self) -> str:
        """The end of the log, for a failure's message."""
        with self._changed:
            return "\n".join(self.raw[-SHOWN:])

    def ctl(self, *arguments: str, timeout: float = 60.0, stdin: bytes | None = None) -> Outcome:
        """`napctl --json …` against this daemon."""
        return napctl("--socket", str(self.socket), "--json", *arguments, timeout=timeout, cwd=self.folder, stdin=stdin)

    def call(self, method: str, **params: Any) -> Any:
        """The same without a process of its own, for those who ask often: a method of the control socket."""
        return control(self.socket, method, **params)

    def stop_for_good(self) -> None:
        """Whatever its condition: gone afterwards."""
        if not self._begun:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._ended(5)

    def _signal(self, number: int) -> None:
        self.process.send_signal(number)

    def _ended(self, within_s: float) -> int:
        status = self.process.wait(within_s)
        self._reader.join(5)
        return status

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        errors = threading.Thread(target=self._read_errors, args=(process,), daemon=True)
        errors.start()
        assert process.stdout is not None
        for line in process.stdout:
            self._take(line)
        errors.join()
        process.stdout.close()

    def _read_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._changed:
                self.raw.append("stderr: " + line.decode("utf-8", "replace").rstrip())
        process.stderr.close()

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\n")
        try:
            # Not `json`: thousands of lines a second would slow down the daemons that share its processors.
            event = msgspec.json.decode(text)
        except msgspec.DecodeError:
            event = {"event": "not.json", "message": text}
        with self._changed:
            self.raw.append(text)
            self.events.append(event)
            self._changed.notify_all()


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


D = TypeVar("D", bound=DaemonProcess)


class IndexProcess(DaemonProcess):
    """An index, on a free port of 127.0.0.1 that it keeps."""

    def __init__(self, folder: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__("napindex", folder, options, env or {})


class PeerProcess(DaemonProcess):
    """A peer with shared/ and downloads/ in its folder, logged in by the folder's name unless told otherwise."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        index: str | None = None,
        user: str | None = None,
        shares: Iterable[Path] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        for made in (self.shared_in(folder), folder / "downloads"):
            made.mkdir(parents=True, exist_ok=True)
        chosen = ["--user", user or folder.name, "--downloads", str(folder / "downloads")]
        if index is not None:
            chosen += ["--index", index]
        for share in [self.shared_in(folder)] if shares is None else shares:
            chosen += ["--share", str(share)]
        super().__init__("nappeer", folder, [*chosen, *options], env or {})

    @staticmethod
    def shared_in(folder: Path) -> Path:
        return folder / "shared"

    @property
    def shared(self) -> Path:
        return self.shared_in(self.folder)

    @property
    def downloads(self) -> Path:
        return self.folder / "downloads"


class Processes:
    """Daemons of one test, in folders of its own; all gone at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[DaemonProcess] = []

    def index(self, name: str = "index", *options: str, start: bool = True) -> IndexProcess:
        return self.keep(IndexProcess(self.folder / name, *options), start)

    def peer(self, name: str, *options: str, index: IndexProcess | None = None, start: bool = True) -> PeerProcess:
        """Logged in as `name` at `index`, once started; its `shared` folder is there before that."""
        pinned = None if index is None else f"{index.address}#{index.id}"
        return self.keep(PeerProcess(self.folder / name, *options, index=pinned), start)

    def stop(self) -> None:
        for daemon in reversed(self._all):
            daemon.stop_for_good()

    def logs(self) -> str:
        return "\n\n".join(f"--- {daemon.folder.name}\n{daemon.tail()}" for daemon in self._all)

    def keep(self, daemon: D, start: bool = False) -> D:
        self._all.append(daemon)
        if start:
            daemon.start()
        return daemon


def control(socket: Path, method: str, **params: Any) -> Any:
    """Ask a daemon over its control socket."""
    with Client(str(socket), READY_S) as client:
        return json.loads(client.call(method, params))


def napctl(
    *arguments: str,
    timeout: float = 60.0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> Outcome:
    """Run `napctl` to its end; stdout is read as JSON documents, one per line."""
    done = subprocess.run(
        [sys.executable, "-c", _NAPCTL, *arguments],
        input=b"" if stdin is None else stdin,
        capture_output=True,
        timeout=timeout,
        cwd=cwd,
        env=environment(**(env or {})),
        check=False,
    )
    documents = tuple(json.loads(line) for line in done.stdout.split(b"\n") if line.strip())
    return Outcome(done.returncode, documents, done.stderr.decode("utf-8", "replace"))


def _is(event: Mapping[str, Any], name: str, fields: Mapping[str, Any]) -> bool:
    return event.get("event") == name and all(event.get(key) == value for key, value in fields.items())
