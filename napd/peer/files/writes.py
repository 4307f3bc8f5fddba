"""Verified chunks on their way to one partial file: while some are being written, those that come gather and go next.

A hand-over to another thread and back costs as much as writing a quarter of a chunk; so does Python's lock, each time
that both threads want it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from .partial import PartialFile


@frozen
class _Chunk:
    number: int
    data: bytes | memoryview
    written: Deferred[None]


class Writes:
    """:param run: runs a function on a disk thread."""

    def __init__(self, partial: PartialFile, run: Callable[..., Deferred[Any]]) -> None:
        self._partial = partial
        self._run = run
        self._gathered: list[_Chunk] = []
        self._under_way = False

    def write(self, chunk: int, data: bytes | memoryview) -> Deferred[None]:
        """Fires when it is written, perhaps with others. Fails with `NoSpace` or `DiskFailed`: it may be in part."""
        written: Deferred[None] = Deferred()
        self._gathered.append(_Chunk(chunk, data, written))
        if not self._under_way:
            self._begin()
        return written

    def _begin(self) -> None:
        chunks, self._gathered = self._gathered, []
        self._under_way = True
        self._run(self._write_chunks, chunks).addBoth(self._ended, chunks)

    def _write_chunks(self, chunks: list[_Chunk]) -> None:
        """On a disk thread."""
        self._partial.make_sure_it_is_open()
        for chunk in chunks:
            self._partial.write_chunk(chunk.number, chunk.data)

    def _ended(self, outcome: object, chunks: list[_Chunk]) -> None:
        self._under_way = False
        if self._gathered:
            self._begin()
        for chunk in chunks:
            if isinstance(outcome, Failure):
                chunk.written.errback(outcome)
            else:
                chunk.written.callback(None)
