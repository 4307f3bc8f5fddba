"""What a source that has only parts of a content tells of them: who wants to know it, over one link."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from attrs import define, field

from ...errors import SourceFailed
from ...wire import peer as wire


class Watcher(Protocol):
    """Who wants to know what a source has; implemented by `peer.fetch.lane`."""

    def have_told(self, group: int, bits: int) -> None:
        """These chunks of a group are there now, the first in the lowest bit."""

    def whole_told(self) -> None:
        """All is there."""

    def watch_ended(self, failure: SourceFailed) -> None:
        """Nothing of it is to be had any more; not called when the link is lost."""


@define
class Watches:
    """By the number of the `get_have`. `features` are those of the source."""

    features: Collection[str] = ()
    _watchers: dict[int, Watcher] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._watchers)

    @property
    def room(self) -> bool:
        """Whether the source can tell of one content more."""
        return wire.FEATURE_HAVE in self.features and len(self._watchers) < wire.MAX_HAVES

    def begin(self, number: int, watcher: Watcher) -> None:
        self._watchers[number] = watcher

    def end(self, number: int) -> bool:
        """Whether it was there."""
        return self._watchers.pop(number, None) is not None

    def told(self, have: wire.Have) -> None:
        """What crossed a cancel is nobody's."""
        watcher = self._watchers.get(have.id)
        if watcher is None:
            return
        if have.whole:
            del self._watchers[have.id]
            watcher.whole_told()
        else:
            watcher.have_told(have.group, int.from_bytes(have.bits, "little"))

    def refused(self, number: int, failure: SourceFailed) -> bool:
        """Whether this was one of them."""
        watcher = self._watchers.pop(number, None)
        if watcher is not None:
            watcher.watch_ended(failure)
        return watcher is not None

    def clear(self) -> None:
        self._watchers.clear()
