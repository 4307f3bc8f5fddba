"""The others: each moves one file from a process that has it to one that has not, and is timed at that."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.support.waiting import until

from ..baselines.nginx import Nginx
from ..baselines.ports import accepts, free_port
from ..children import Child
from ..usage import Spent, spent, spent_by_command
from .tools import absent_programs, python_with


class Contender(AbstractContextManager["Contender"], Protocol):
    """:ivar name: as the table has it."""

    name: str

    @property
    def absent(self) -> str | None:
        """Why it cannot be measured; then it is not entered."""

    def move(self, target: Path) -> Spent:
        """The whole file is at `target` when this returns; seconds of the sender and the receiver."""


class _Started:
    """What is started with it ends with it."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _start(self) -> None:
        raise NotImplementedError


class NginxToCurl(_Started):
    """TLS 1.3; nobody verifies anything. :param synced: the file is synced after curl has ended."""

    name = "nginx → curl"

    def __init__(self, source: Path, folder: Path, *, synced: bool = False) -> None:
        super().__init__(source, folder)
        self._synced = synced
        if synced:
            self.name = "nginx → curl, then synced"

    @property
    def absent(self) -> str | None:
        return absent_programs("nginx", "curl", "openssl")

    def _start(self) -> None:
        self._nginx = self._running.enter_context(Nginx(self._folder / "nginx", self._source.parent))

    def move(self, target: Path) -> Spent:
        command = self._nginx.fetch(self._source.name, target)
        if self._synced:
            command = ["sh", "-c", '"$@" && sync "$0"', str(target), *command]
        return spent_by_command([self._nginx.worker], command)


class Libtorrent(_Started):
    """A v2 torrent, plain TCP; every piece is hashed."""

    name = "libtorrent"

    @property
    def absent(self) -> str | None:
        return None if python_with("libtorrent") else "not installed: libtorrent"

    def _start(self) -> None:
        self._torrent = self._folder / "large.torrent"
        self._python = python_with("libtorrent")
        giver = Child("torrent", "give", self._source, self._torrent, python=self._python)
        self._giver = self._running.enter_context(giver)
        self._port = self._giver.hear()

    def move(self, target: Path) -> Spent:
        directory = self._folder / "leecher"
        directory.mkdir()
        with Child("torrent", "take", self._port, self._torrent, directory, python=self._python) as taker:
            taker.hear()
            took = spent([self._giver.pid, taker.pid], taker.go)
        (directory / self._source.name).rename(target)
        directory.rmdir()
        return took


class Wormhole(_Started):
    """Its own mailbox server, then directly over loopback; encrypted, and the whole file hashed."""

    name = "magic-wormhole"
    _MODULES = ("wormhole", "wormhole_mailbox_server")

    @property
    def absent(self) -> str | None:
        if python_with(*self._MODULES):
            return None
        return "not installed: magic-wormhole, magic-wormhole-mailbox-server"

    def _start(self) -> None:
        self._python = python_with(*self._MODULES) or ""
        port = free_port()
        self._url = f"ws://127.0.0.1:{port}/v1"
        self._codes = 0
        folder = self._folder / "mailbox"
        folder.mkdir()
        command = [self._python, "-m", "twisted", "wormhole-mailbox", f"--port=tcp:{port}:interface=127.0.0.1"]
        mailbox = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._running.callback(mailbox.wait, 10)
        self._running.callback(mailbox.terminate)
        until(lambda: accepts(port), "the mailbox server listening", 30)

    def move(self, target: Path) -> Spent:
        self._codes += 1
        code = f"{self._codes}-bench-mark"
        with Child("wormhole", "give", self._url, code, self._source, python=self._python) as giver:
            while "code is" not in giver.hear():
                pass
            with Child("wormhole", "take", self._url, code, target, python=self._python) as taker:
                taker.hear()
                return spent([giver.pid, taker.pid], taker.go)


#: By the name of their part.
CONTENDERS: dict[str, Callable[[Path, Path], Contender]] = {
    "nginx": NginxToCurl,
    "libtorrent": Libtorrent,
    "wormhole": Wormhole,
}
