"""Which chunks of a content have been sent to how many, so that those who fetch it get different ones first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import define, field

from ...model import ContentId

#: Chunks of a content that are counted: of those behind the first 64 GiB it does not matter which come first.
MAX_COUNTED = 1 << 16


@define
class Copies:
    """Counted as long as anybody fetches the content from here."""

    _fetchers: Counter[ContentId] = field(factory=Counter)
    _sent: dict[ContentId, Counter[int]] = field(factory=dict)

    def begins(self, content: ContentId) -> None:
        """One more fetches it."""
        self._fetchers[content] += 1
        self._sent.setdefault(content, Counter())

    def ends(self, content: ContentId) -> None:
        self._fetchers[content] -= 1
        if self._fetchers[content] <= 0:
            del self._fetchers[content]
            self._sent.pop(content, None)

    def sends(self, content: ContentId, chunk: int) -> None:
        """This chunk is on its way to one of them."""
        if content in self._sent and chunk < MAX_COUNTED:
            self._sent[content][chunk] += 1

    def fewest(self, content: ContentId, chunks: Sequence[int]) -> int:
        """The place of that chunk which was sent least often; the first of several, and if only one fetches it."""
        if self._fetchers[content] < 2 or len(chunks) < 2:
            return 0
        sent = self._sent[content]
        return min(range(len(chunks)), key=lambda place: sent[chunks[place]])
