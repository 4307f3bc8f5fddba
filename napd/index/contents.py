"""Contents by number and by id. In memory: a hash and the first digits of each; the rest only until a file has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..model import ContentId
from .arena import Arena, Stretch
from .columns import Column, Ids
from .lookup import Hashes, Lookup

ID_BYTES = 32
#: Ids of a snapshot that are hashed at once.
_AT_ONCE = 8_192
_MASK64 = (1 << 64) - 1
#: Peers choose the ids: these have to be secret, as Python's hashes of texts are in each process.
_MULTIPLIERS = tuple(hash(f"content {word}") & _MASK64 | 1 for word in range(ID_BYTES // 8))


class ContentIds:
    """Numbers in use are given to `of`, or added."""

    def __init__(self) -> None:
        self._arena = Arena()
        #: Those that came, or came back, where nothing can be changed any more in the arena.
        self._late: dict[int, bytes] = {}
        #: By number, of those in use: `hash_of` the id.
        self.hashes = Column(np.uint32)
        #: By number: the first 8 digits of the id.
        self.beginnings = Column(np.uint32)
        self._lookup = Lookup(self._hashes_of, np.zeros(0, np.uint32))

    @classmethod
    def of(cls, base: Stretch | bytearray, numbers: Ids) -> ContentIds:
        """:param base: ids by number, of which `numbers` are in use."""
        ids = cls()
        ids._arena = Arena.of(base)
        count = len(base) // ID_BYTES
        ids.reach(count)
        for at in range(0, count, _AT_ONCE):
            end = min(at + _AT_ONCE, count)
            some = ids._arena.read(at * ID_BYTES, (end - at) * ID_BYTES)
            ids.hashes.all[at:end], ids.beginnings.all[at:end] = _hashes_of(some), _beginnings_of(some)
        ids._lookup = Lookup(ids._hashes_of, numbers)
        return ids

    def reach(self, number: int) -> None:
        """Have room for this number."""
        self.hashes.reach(number)
        self.beginnings.reach(number)

    def add(self, number: int, content: str) -> None:
        """Neither number nor id may be there yet."""
        self.add_all((number,), (content,))

    def add_all(self, numbers: Sequence[int], contents: Iterable[str]) -> None:
        """None of these numbers and ids may be there yet."""
        if not numbers:
            return
        self.reach(max(numbers))
        ids = bytes.fromhex("".join(contents))
        hashes = _hashes_of(ids)
        places = np.array(numbers, np.uint32)
        self.hashes.all[places], self.beginnings.all[places] = hashes, _beginnings_of(ids)
        for place, (number, hashed) in enumerate(zip(numbers, hashes.tolist(), strict=True)):
            self._put(number, ids[place * ID_BYTES : (place + 1) * ID_BYTES])
            self._lookup.add(number, hashed)

    def remove(self, number: int) -> None:
        self._lookup.remove(number, self.hashes.one[number])
        self._late.pop(number, None)

    def id_of(self, number: int) -> ContentId:
        return ContentId(self._id_of(number).hex())

    def number_of(self, content: str) -> int | None:
        hashed, raw = hash_of(content), bytes.fromhex(content)
        for number in self._lookup.candidates(hashed):
            if self.hashes.one[number] == hashed and self._id_of(number) == raw:
                return number
        return None

    def fix(self) -> int:
        """All ids are written to a file now, by `piece`: one more than the highest number."""
        self._arena.fix()
        return len(self._arena) // ID_BYTES

    def piece(self, first: int, end: int) -> bytes:
        """The ids of these numbers, of those that were there when it was fixed; zeros for the rest."""
        ids = bytearray(self._arena.read(first * ID_BYTES, (end - first) * ID_BYTES))
        for number, late in self._late.items():
            if first <= number < end:
                ids[(number - first) * ID_BYTES : (number - first + 1) * ID_BYTES] = late
        return bytes(ids)

    def rest_on(self, base: Stretch) -> list[bytearray]:
        """The file is written; as `Arena.rest_on`."""
        return self._arena.rest_on(base)

    def __len__(self) -> int:
        return len(self._lookup)

    def _put(self, number: int, raw: bytes) -> None:
        if number * ID_BYTES < self._arena.fixed:
            self._late[number] = raw
        else:
            self._arena.write(number * ID_BYTES, raw)

    def _id_of(self, number: int) -> bytes:
        late = self._late.get(number)
        return self._arena.read(number * ID_BYTES, ID_BYTES) if late is None else late

    def _hashes_of(self, numbers: Ids) -> Hashes:
        return self.hashes.all[numbers].astype(np.uint64)


def hash_of(content: str) -> int:
    """32 bits."""
    raw, total = bytes.fromhex(content), 0
    for at, multiplier in enumerate(_MULTIPLIERS):
        total += int.from_bytes(raw[at * 8 : at * 8 + 8], "little") * multiplier
    return (total & _MASK64) >> 32


def _hashes_of(ids: bytes) -> NDArray[np.uint32]:
    """`hash_of` many, one after the other."""
    words = np.frombuffer(ids, "<u8").astype(np.uint64).reshape(-1, ID_BYTES // 8)
    totals = (words * np.array(_MULTIPLIERS, np.uint64)).sum(axis=1, dtype=np.uint64)
    hashes: NDArray[np.uint32] = (totals >> np.uint64(32)).astype(np.uint32)
    return hashes


def _beginnings_of(ids: bytes) -> NDArray[np.uint32]:
    beginnings: NDArray[np.uint32] = np.frombuffer(ids, ">u4")[:: ID_BYTES // 4].astype(np.uint32)
    return beginnings
