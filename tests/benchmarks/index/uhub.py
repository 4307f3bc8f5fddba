"""A hub that broadcasts: what uhub, as Debian has it, spends on one search when a thousand clients are there.

The clients say what ADC wants of them, and answer no search. Their ids are Tiger hashes, which libgcrypt has.
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import selectors
import shutil
import socket
import subprocess
from pathlib import Path
from time import perf_counter, sleep

from attrs import frozen

from ..baselines.ports import free_port
from ..progress import Progress
from ..usage import cpu_s

SEARCHES = 60
#: Seconds for anything to happen.
PATIENCE_S = 60.0
#: `GCRY_MD_TIGER1`.
_TIGER = 306


@frozen
class Hub:
    """Of one search. :ivar cpu_ms: of the hub; `reached_ms`: until the last client has it."""

    clients: int
    cpu_ms: float
    reached_ms: list[float]


def missing() -> str | None:
    """What is not installed."""
    absent = [] if shutil.which("uhub") else ["uhub"]
    if ctypes.util.find_library("gcrypt") is None:
        absent.append("libgcrypt")
    return f"not installed: {', '.join(absent)}" if absent else None


def uhub(folder: Path, clients: int) -> Hub:
    port = free_port()
    (folder / "users.conf").write_text("")
    (folder / "plugins.conf").write_text("")
    (folder / "uhub.conf").write_text(
        f"server_port={port}\nserver_bind_addr=127.0.0.1\nmax_users={clients + 10}\n"
        "flood_ctl_interval=1\nflood_ctl_connect=0\nflood_ctl_search=0\n"
        f"file_acl={folder}/users.conf\nfile_plugins={folder}/plugins.conf\n"
    )
    process = subprocess.Popen(
        ["uhub", "-c", str(folder / "uhub.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        inside: list[_Client] = []
        progress = Progress("clients of the hub", clients)
        for number in range(clients):
            progress.at(number)
            inside.append(_enter(port, number))
            # Each newcomer is told to all who are there, and the hub drops who does not read.
            if number % 50 == 0:
                for client in inside:
                    client.drain()
        return _searches(process.pid, inside)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _enter(port: int, number: int) -> _Client:
    until = perf_counter() + PATIENCE_S
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
            break
        except ConnectionRefusedError:
            if perf_counter() > until:
                raise
            sleep(0.05)
    client = _Client(connection)
    client.say("HSUP ADBASE ADTIGR")
    client.sid = client.hear("ISID ").split()[1]
    secret = f"client {number}".encode().ljust(24, b".")
    ids = f"ID{_base32(_tiger(secret))} PD{_base32(secret)} NIclient{number}"
    client.say(f"BINF {client.sid} {ids} SL1 SS0 SF0 HN1 HR0 HO0 VEbench I40.0.0.0")
    client.hear(f"BINF {client.sid} ")
    return client


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.sid = ""
        self._rest = b""

    def say(self, line: str) -> None:
        self.connection.sendall(line.encode() + b"\n")

    def hear(self, beginning: str) -> str:
        """The next line that begins so."""
        while True:
            line, end, rest = self._rest.partition(b"\n")
            if not end:
                self._take()
                continue
            self._rest = rest
            text = line.decode(errors="replace")
            if text.startswith(beginning):
                return text
            if text.startswith("ISTA 2"):
                raise RuntimeError(f"the hub refuses: {text}")

    def has(self, what: bytes) -> bool:
        """Whether it has come, after one more read; what came before is dropped."""
        self._take()
        found = what in self._rest
        self._rest = self._rest[-4096:] if not found else b""
        return found

    def drain(self) -> None:
        self.connection.setblocking(False)
        try:
            while self.connection.recv(1 << 16):
                pass
        except BlockingIOError:
            pass
        self.connection.setblocking(True)
        self._rest = b""

    def _take(self) -> None:
        data = self.connection.recv(1 << 16)
        if not data:
            raise RuntimeError("the hub hung up")
        self._rest += data


def _searches(pid: int, clients: list[_Client]) -> Hub:
    sleep(1.0)
    for client in clients:
        client.drain()
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.connection, selectors.EVENT_READ, client)
    reached = []
    before = cpu_s(pid)
    for number in range(SEARCHES):
        word = f"word{number:04}x"
        began = perf_counter()
        clients[0].say(f"BSCH {clients[0].sid} AN{word} TO{number}")
        left = len(clients) - 1
        while left and perf_counter() - began < PATIENCE_S:
            for key, _ in selector.select(1.0):
                left -= key.data is not clients[0] and key.data.has(word.encode())
        if left:
            raise RuntimeError(f"{left} clients did not get a search")
        reached.append((perf_counter() - began) * 1000)
    spent_ms = (cpu_s(pid) - before) * 1000 / SEARCHES
    for client in clients:
        client.connection.close()
    return Hub(len(clients), spent_ms, reached)


def _tiger(data: bytes) -> bytes:
    library = ctypes.CDLL(ctypes.util.find_library("gcrypt"))
    library.gcry_check_version(None)
    digest = ctypes.create_string_buffer(24)
    library.gcry_md_hash_buffer(_TIGER, digest, data, len(data))
    return digest.raw


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")
