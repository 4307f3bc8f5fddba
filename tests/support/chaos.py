"""A TCP proxy that does to a link what networks do: delay it, limit it, cut it, corrupt it, leave it half open.

Threads and plain sockets, so that it shares nothing with what it tests. What a `Weather` says may be changed while
connections are open, and holds for them from the next piece on. "Down" is from the server to the client that dialled.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable

from attrs import define, field

PIECE = 16 * 1024
#: Seconds between two looks at whether a stall is over.
LOOK_S = 0.02
#: Seconds that a connection waits for its target to be known.
TARGET_S = 30.0

_TLS_HEADER = 5
_APPLICATION_DATA = 23
#: Records of application data that are left alone: the hellos. A handshake that fails says nothing about data.
_FIRST_RECORDS = 8


@define
class Weather:
    """What happens to what passes.

    `delay_s`: to each piece. `rate`: bytes per second downwards. `stalled_down`, `stalled_up`: nothing passes in that
    direction, and nothing is lost. `swallowing`: what comes is taken and dropped, both ways: a half-open link.
    `refusing`: new connections are reset. `flip_one_in`: every so many TLS records downwards, one has a byte changed.
    """

    delay_s: float = 0.0
    rate: float | None = None
    stalled_down: bool = False
    stalled_up: bool = False
    swallowing: bool = False
    refusing: bool = False
    flip_one_in: int | None = None


@define(eq=False)
class _Pair:
    """A connection and the one that was made for it."""

    client: socket.socket
    server: socket.socket

    def close(self, *, reset: bool = False) -> None:
        for end in (self.client, self.server):
            try:
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # A thread that reads wakes up from this, and not from a close alone.
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


@define(eq=False)
class ChaosProxy:
    """Listens on a free port of 127.0.0.1 from `start` on; `target` may be told later."""

    weather: Weather = field(factory=Weather)
    #: TLS records of application data that passed downwards on all connections, and those that were changed.
    records: int = field(default=0, init=False)
    flipped: int = field(default=0, init=False)
    passed_down: int = field(default=0, init=False)
    _target: tuple[str, int] | None = field(default=None, init=False)
    _known: threading.Event = field(factory=threading.Event, init=False)
    _listening: socket.socket = field(init=False)
    _pairs: list[_Pair] = field(factory=list, init=False)
    _closing: bool = field(default=False, init=False)
    _changed: threading.Lock = field(factory=threading.Lock, init=False)

    def start(self) -> ChaosProxy:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread(self._accept)
        return self

    @property
    def address(self) -> str:
        host, port = self._listening.getsockname()
        return f"{host}:{port}"

    def lead_to(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._known.set()

    def cut(self, *, reset: bool = False) -> None:
        """End every connection that is open now."""
        with self._changed:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close(reset=reset)

    def stop(self) -> None:
        self._closing = True
        self._known.set()
        self._listening.close()
        self.cut()

    # --- Inside ----------------------------------------------------------------------------------

    @staticmethod
    def _thread(work: Callable[..., None], *args: object) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._thread(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        self._known.wait(TARGET_S)
        if self.weather.refusing or self._target is None or self._closing:
            _Pair(client, client).close(reset=True)
            return
        try:
            server = socket.create_connection(self._target, 10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, server)
        with self._changed:
            self._pairs.append(pair)
        self._thread(self._pass, pair, client, server, lambda: self.weather.stalled_up, None)
        self._thread(self._pass, pair, server, client, lambda: self.weather.stalled_down, _Records(self))

    def _pass(
        self,
        pair: _Pair,
        source: socket.socket,
        sink: socket.socket,
        stalled: Callable[[], bool],
        down: _Records | None,
    ) -> None:
        try:
            while piece := source.recv(PIECE):
                while stalled() and not self._closing:
                    time.sleep(LOOK_S)
                weather = self.weather
                if weather.delay_s:
                    time.sleep(weather.delay_s)
                if weather.swallowing:
                    continue
                if down is not None:
                    piece = down.changed(piece)
                    self.passed_down += len(piece)
                    if weather.rate:
                        time.sleep(len(piece) / weather.rate)
                sink.sendall(piece)
        except OSError:
            pass
        if not self.weather.swallowing:
            pair.close()


@define
class _Records:
    """Follows the TLS records of one direction, and changes a byte of one now and then."""

    proxy: ChaosProxy
    _header: bytearray = field(factory=bytearray)
    _left: int = 0
    _seen: int = 0
    _flip: bool = False

    def changed(self, piece: bytes) -> bytes:
        data = bytearray(piece)
        at = 0
        while at < len(data):
            if self._left:
                if self._flip:
                    data[at] ^= 1
                    self._flip = False
                    self.proxy.flipped += 1
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            self._header.append(data[at])
            at += 1
            if len(self._header) == _TLS_HEADER:
                self._begin(self._header[0], int.from_bytes(self._header[3:5], "big"))
                self._header.clear()
        return bytes(data)

    def _begin(self, kind: int, size: int) -> None:
        self._left = size
        self._seen += kind == _APPLICATION_DATA
        one_in = self.proxy.weather.flip_one_in
        if one_in and self._seen > _FIRST_RECORDS:
            self.proxy.records += 1
            self._flip = self.proxy.records % one_in == 0
