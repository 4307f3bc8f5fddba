"""Which chunks of a download are flushed: a bit a chunk, kept and asked in bulk. Pure.

A download may have millions of chunks: whatever goes through all of them goes by groups, not by chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

from ...content.digest import CHUNK_BYTES, GROUP_CHUNKS, chunk_bytes, chunk_count


@define
class FlushedChunks:
    """Which chunks are flushed: a bit a chunk, by group of 1,024, and which groups changed since they were
    journalled."""

    _groups: dict[int, bytearray] = field(factory=dict)
    _changed: set[int] = field(factory=set)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, bytes]]) -> FlushedChunks:
        return cls({number: bytearray(have) for number, have in rows})

    def add(self, chunk: int) -> None:
        group, place = divmod(chunk, GROUP_CHUNKS)
        bits = self._groups.setdefault(group, bytearray(GROUP_CHUNKS // 8))
        bits[place >> 3] |= 1 << (place & 7)
        self._changed.add(group)

    def cut(self, chunks: int) -> bool:
        """Forget those from this number on; whether there were any."""
        cut = False
        for group, bits in self._groups.items():
            kept = max(0, chunks - group * GROUP_CHUNKS)
            have = int.from_bytes(bits, "little")
            if have >> kept:
                self._groups[group] = bytearray((have & (1 << kept) - 1).to_bytes(len(bits), "little"))
                self._changed.add(group)
                cut = True
        return cut

    def count(self, size: int) -> int:
        """Bytes in them, of a content of this size."""
        chunks = sum(int.from_bytes(bits, "little").bit_count() for bits in self._groups.values())
        last = chunk_count(size) - 1
        return chunks * CHUNK_BYTES - (CHUNK_BYTES - chunk_bytes(size, last) if last >= 0 and last in self else 0)

    def __contains__(self, chunk: int) -> bool:
        group, place = divmod(chunk, GROUP_CHUNKS)
        bits = self._groups.get(group)
        return bits is not None and bool(bits[place >> 3] & 1 << (place & 7))

    def __iter__(self) -> Iterator[int]:
        for group in sorted(self._groups):
            yield from _numbers(int.from_bytes(self._groups[group], "little"), group * GROUP_CHUNKS)

    def __bool__(self) -> bool:
        return any(map(any, self._groups.values()))

    def groups(self) -> Iterator[tuple[int, int]]:
        """Each group that has some, with its chunks as bits: the first is the lowest."""
        for group, bits in self._groups.items():
            yield group, int.from_bytes(bits, "little")

    def missing(self, chunks: range) -> Iterator[int]:
        """Those of these consecutive chunks that are not flushed, in order."""
        for group in range(chunks.start // GROUP_CHUNKS, -(-chunks.stop // GROUP_CHUNKS)):
            first = group * GROUP_CHUNKS
            wanted = (1 << max(0, min(GROUP_CHUNKS, chunks.stop - first))) - 1
            wanted &= ~((1 << max(0, chunks.start - first)) - 1)
            yield from _numbers(wanted & ~int.from_bytes(self._groups.get(group, b""), "little"), first)

    def take_changed(self) -> list[tuple[int, bytes]]:
        """The groups that changed since the last call, as the journal stores them."""
        changed = [(group, bytes(self._groups[group])) for group in sorted(self._changed)]
        self._changed.clear()
        return changed


def _numbers(bits: int, first: int) -> Iterator[int]:
    """The chunks that these bits stand for, the lowest for `first`."""
    while bits:
        low = bits & -bits
        yield first + low.bit_length() - 1
        bits ^= low
