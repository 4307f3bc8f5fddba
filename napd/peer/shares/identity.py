"""Which file it was that was hashed, and how old a file must be for its time stamps to tell it from the next."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

#: Seconds after its last change until a file's time stamps tell it apart: they are as coarse as 2 s (FAT) or one tick
#: of the kernel's clock, so a change in the same tick would not show. What was read before that is read again.
YOUNG_S = 2.0
#: Seconds without a change after which a file that was growing is taken to be whole.
QUIET_S = 1.0


class Identity(NamedTuple):
    """A file at one moment: equal identities mean unchanged bytes, if the file was not young.

    Each number is folded to the 64 bits, signed, that SQLite keeps (some file systems use all 64, unsigned).
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        return cls(
            _fold(status.st_dev),
            _fold(status.st_ino),
            status.st_size,
            _fold(status.st_mtime_ns),
            _fold(status.st_ctime_ns),
        )

    def same_but_for_ctime(self, other: Identity) -> bool:
        """Renamed, linked, another mode or owner, its disk mounted anew: the bytes are believed to be the same."""
        return self[1:4] == other[1:4]

    def is_same_file(self, status: os.stat_result) -> bool:
        """Whether an open file still has the bytes that were hashed, as far as a stat can tell."""
        return stat.S_ISREG(status.st_mode) and self.same_but_for_ctime(Identity.of(status))

    def changed_soon_after(self, other: Identity) -> bool:
        """Whether this is another state of the file, written within `QUIET_S` of the other."""
        return abs(self.mtime_ns - other.mtime_ns) < QUIET_S * 1e9


def settles_at(status: os.stat_result, now: float) -> float:
    """From when on (seconds since 1970) what is read of this file may be believed for good.

    A modification time in the future was set by somebody, which the change time witnesses.
    """
    changed = status.st_ctime if status.st_mtime > now else max(status.st_ctime, status.st_mtime)
    return changed + YOUNG_S


def quiet_at(status: os.stat_result, now: float) -> float:
    """From when on (seconds since 1970, not before `now`) a file that nobody closed is taken to be whole."""
    return now if status.st_mtime > now + QUIET_S else max(now, status.st_mtime + QUIET_S)


def _fold(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
