"""Encrypted bytes on their way into a socket: what the kernel takes at once is never kept."""

from __future__ import annotations

import socket

#: Less than this waits for `flush`: it goes out with what follows.
SMALL_BYTES = 8 * 1024
#: Pieces that are given to the kernel in one call.
PIECES_PER_CALL = 16


class Outgoing:
    """:ivar bytes: that wait for the kernel to take them."""

    def __init__(self, to: socket.socket) -> None:
        self._socket = to
        self._pieces: list[bytes | memoryview] = []
        self.bytes = 0

    def give(self, data: memoryview) -> None:
        """The memory behind `data` may be used again afterwards. :raises OSError: the socket has failed."""
        sent = 0
        if len(data) >= SMALL_BYTES and not self._pieces:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                pass
        if sent < len(data):
            self._pieces.append(bytes(data[sent:]))
            self.bytes += len(data) - sent

    def flush(self) -> None:
        """As much as the kernel takes now. :raises OSError: the socket has failed."""
        pieces = self._pieces
        while pieces:
            try:
                sent = self._socket.sendmsg(pieces[:PIECES_PER_CALL])
            except BlockingIOError:
                return
            self.bytes -= sent
            while pieces and sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if sent:
                pieces[0] = memoryview(pieces[0])[sent:]

    def clear(self) -> None:
        self._pieces.clear()
        self.bytes = 0
