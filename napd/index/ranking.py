"""Which contents are on a page: those that may come first are looked at first, until no other can come before the last.

Of each matching item, arrays tell the best place that its content can have: by its sources, and as if all the words
that are asked for stood in its file name. So a page takes some hundred looks at names, however common its words are,
and bands are passed over when nothing of theirs can be on it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import define, field, frozen
from pyroaring import BitMap

from .best_first import Figures, best_first
from .claims import Among
from .columns import Ids, bitmap, distinct, ids_in
from .items import Asker
from .judge import Judge
from .networks import MOST
from .order import FREE_SLOT_POINTS, Cursor, Place, name_key, points_of, source_points, text_bounds
from .presence import Presence
from .search import Wanted
from .table import ItemTable

#: Contents that one search looks at, at most: some 10 ms.
MAX_EXAMINED = 5_000
#: Matching items that it weighs by arrays, at most: some 5 ms.
MAX_WEIGHED = 200_000
#: Items that are weighed together if there are as many: of the best-held bands, then of those below.
GROUP = 2_048
#: The first digits of content ids put equal ones in order before they are looked at.
_DIGITS = 8

#: What a candidate's place begins with at best, the first digits of its content id, the item, the content.
_Candidate = tuple[int | float | str, int, int, int]


@frozen
class Selected:
    """The contents of a page with their places, in order, and one more if there is one.

    :param cut: there may be more that was not looked at.
    :param among: what has a say in how they are shown.
    """

    first: Sequence[tuple[Place, int]]
    cut: bool
    among: Among


@frozen
class _Group:
    """
    :param below: the most sources that a content of what is left may have; 0 if nothing is.
    :param sources: by content, where the asker sees other ones than everybody does.
    """

    items: Ids
    below: float
    sources: Mapping[int, int] | None = None


class Ranking:
    """
    :param matches: items that the asker may see, as far as bitmaps tell.
    :param decided: bitmaps tell all that the query asks of attributes.
    :param examined: and `weighed`: bounds, like the constants of these names.
    """

    def __init__(
        self,
        table: ItemTable,
        presence: Presence,
        wanted: Wanted,
        asker: Asker,
        matches: BitMap,
        *,
        decided: bool,
        examined: int = MAX_EXAMINED,
        weighed: int = MAX_WEIGHED,
    ) -> None:
        self._table = table
        self._presence = presence
        self._wanted = wanted
        self._asker = asker
        self._matches = matches
        self._examined = examined
        # To put names in order, each has to be looked at.
        self._weighed = min(examined, weighed) if wanted.sort == "name" else weighed
        self._bounds = text_bounds(wanted.query)
        self._by_words: list[int] = self._bounds.tolist()
        self._judge = Judge(table, presence, wanted, asker, matches, self._by_words, decided=decided)

    def select(self) -> Selected:
        page = _Page(self._wanted.limit, self._wanted.after)
        done: set[int] = set()
        below: float = 0
        for group in self._groups():
            below = group.below
            for lowest, prefix, item, content in self._best_first(group):
                if not page.has_room(lowest, prefix):
                    break
                if content in done:
                    continue
                if len(done) == self._examined:
                    return Selected(page.first, True, self._judge.among)
                done.add(content)
                first = self._judge.look(item, content, lowest)
                if first is not None and page.has_room(first, prefix):
                    page.add((first, self._table.content_id(content)), content)
            least = self._lowest(below)
            if least is not None and not page.has_room(least, 0):
                return Selected(page.first, False, self._judge.among)
        return Selected(page.first, below > 0, self._judge.among)

    # --- What is weighed together ----------------------------------------------------------------

    def _groups(self) -> Iterator[_Group]:
        """What this asker sees otherwise than others; then from the top band down, as much as may be weighed."""
        left = self._matches
        restricted = self._presence.restricted_for(self._asker)
        if restricted:
            contents = distinct(self._table.content.all[ids_in(restricted)])
            apart = left & bitmap(self._table.items_of_all(contents))
            left = left - apart
            if apart:
                yield self._apart(ids_in(apart), np.inf if left or len(apart) > self._examined else 0)
        unseen, room = len(left), self._weighed
        waiting: list[Ids] = []
        for most, band in self._presence.bands.from_the_top():
            items = ids_in(left & band)
            unseen -= min(room, len(items))
            waiting.append(items[:room])
            room -= len(waiting[-1])
            # What did not fit is of this band.
            below = most if not room else most // 2
            if not (room and unseen) or sum(map(len, waiting)) >= GROUP:
                yield _Group(np.concatenate(waiting), below if unseen else 0)
                waiting = []
                if not (room and unseen):
                    return

    def _apart(self, items: Ids, below: float) -> _Group:
        items = items[: self._examined]
        contents = set(self._table.content.all[items].tolist())
        return _Group(items, below, {content: self._presence.count_for(content, self._asker) for content in contents})

    def _lowest(self, below: float) -> int | float | None:
        """What no place of a content with at most so many sources is lower than; None if that cannot be told."""
        if below == 0 or below == np.inf:
            return None
        if self._wanted.sort == "best":
            return -(source_points(int(below)) + max(self._by_words))
        return -below if self._wanted.sort == "sources" else None

    # --- In which order --------------------------------------------------------------------------

    def _best_first(self, group: _Group) -> Iterator[_Candidate]:
        items = self._of_size(group.items)
        contents = self._table.content.all[items]
        if self._wanted.sort == "name":
            yield from self._by_name(items, contents)
            return
        figures, least = self._figures(group, items, contents)
        if self._wanted.after is not None:
            # What is certainly on an earlier page.
            later = least <= -int(self._wanted.after.place[0])
            items, contents, figures = items[later], contents[later], figures[later]
        for piece in best_first(figures, lambda numbers: self._prefixes(contents[numbers])):
            of_piece = contents[piece]
            yield from zip(
                (-figures[piece]).tolist(), self._prefixes(of_piece).tolist(), items[piece].tolist(), of_piece.tolist(),
                strict=True,
            )  # fmt: skip

    def _figures(self, group: _Group, items: Ids, contents: Ids) -> tuple[Figures, Figures]:
        """What the number in the place of each can be at most, and at least."""
        if self._wanted.sort == "size":
            sizes = self._table.sizes.of(items).astype(np.int64)
            return sizes, np.zeros(len(items), np.int64)
        if group.sources is None:
            sources = self._presence.counts(contents)
        else:
            sources = np.array([group.sources[content] for content in contents.tolist()], np.int64)
        if self._wanted.sort == "sources":
            return sources, sources
        least = points = points_of(sources)
        if self._presence.is_uneven:
            least = points_of(np.minimum(sources, MOST)) - FREE_SLOT_POINTS
        return points + self._bounds[self._table.words.all[items]], least

    def _by_name(self, items: Ids, contents: Ids) -> Iterator[_Candidate]:
        numbers = items.tolist()
        keys = [name_key(self._table.row(item).name) for item in numbers]
        yield from sorted(zip(keys, self._prefixes(contents).tolist(), numbers, contents.tolist(), strict=True))

    def _of_size(self, items: Ids) -> Ids:
        asked = self._wanted.query.attributes
        if not asked.sized():
            return items
        sizes = self._table.sizes.of(items)
        return items[(sizes >= asked.min_size) & (sizes <= asked.max_size)]

    def _prefixes(self, contents: Ids) -> Figures:
        return self._table.ids.beginnings.all[contents].astype(np.int64)


@define
class _Page:
    """The best places found so far, one more than the page has.

    :param after: where it begins.
    """

    _limit: int
    _after: Cursor | None
    first: list[tuple[Place, int]] = field(factory=list)
    _last: tuple[int | float | str, int] | None = None

    def add(self, place: Place, content: int) -> None:
        if self._after is not None and place <= self._after.place:
            return
        insort(self.first, (place, content))
        if len(self.first) > self._limit:
            del self.first[self._limit + 1 :]
            last, _ = self.first[-1]
            self._last = last[0], int(last[1][:_DIGITS], 16)

    def has_room(self, lowest: int | float | str, prefix: int) -> bool:
        """Whether a place may be on it that begins so, or with more."""
        return self._last is None or (lowest, prefix) <= self._last
