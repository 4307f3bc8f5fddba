"""The queue: which downloads there are, in which state, and in what order they run. Pure.

Order is (priority, place). The active are the first N runnable in that order. The queue decides nothing about sources
or bytes; `peer.fetch.scheduler` acts on what `schedule` says and writes every change to the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from attrs import define, field

from ..errors import Misuse, NoSuchThing, printable
from ..model import ContentId, DownloadState, Priority
from ..wire.documents import Problem
from .item import COMMANDED, Item, Remembered, commanded
from .order import Order, is_move, moved

#: Downloads that may stand in their sources' lines without an active place: each has a file open and links in use.
MAX_ASIDE = 16


@define
class Schedule:
    """What has to change so that the active are the first runnable ones."""

    start: list[Item]
    displace: list[Item]


@define
class Queue:
    """All downloads. Methods that change something return the items they changed, for the journal."""

    next_id: int = 1
    _items: dict[int, Item] = field(factory=dict)
    _by_content: dict[ContentId, Item] = field(factory=dict)
    # Of all that have not ended, and of those that could run.
    _order: Order = field(factory=Order)
    _ready: Order = field(factory=Order)
    _active: set[int] = field(factory=set)
    # The highest place that was ever given in each priority.
    _last_places: dict[Priority, int] = field(factory=dict)
    # Those that gave their active place to others, and go on standing in the lines of their sources.
    _aside: set[int] = field(factory=set)

    # --- Looking ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Item]:
        """In the order in which they will run, ended ones last, the latest ended first."""
        for number in self._order:
            yield self._items[number]
        ended = (item for item in self._items.values() if item.state.ended)
        yield from sorted(ended, key=lambda item: (-(item.finished or 0.0), item.id))

    def __len__(self) -> int:
        return len(self._items)

    def get(self, number: int) -> Item:
        """:raises NoSuchThing: if there is no download with this id."""
        try:
            return self._items[number]
        except KeyError:
            raise NoSuchThing(f"download {number} does not exist", "List them: napctl queue") from None

    def of_content(self, content: ContentId) -> Item | None:
        return self._by_content.get(content)

    def positions(self) -> dict[int, int]:
        """Place in the order, from 1, of all that have not ended."""
        return {number: place for place, number in enumerate(self._order, 1)}

    def runnable(self) -> Iterator[Item]:
        """All that could run, in order; nothing may be changed meanwhile."""
        return (self._items[number] for number in self._ready)

    @property
    def active(self) -> int:
        """How many are active."""
        return len(self._active)

    def position(self, item: Item) -> int | None:
        return None if item.state.ended else self._order.position(item)

    def counts(self) -> Counter[DownloadState]:
        """How many there are in each state."""
        return Counter(item.state for item in self._items.values())

    def schedule(self, limit: int) -> Schedule:
        """Which to start and which to displace, so that the first `limit` that can run now are the active."""
        able = (number for number in self._ready if number not in self._aside)
        wanted = list(islice(able, limit))
        wanted_set = set(wanted)
        return Schedule(
            start=[self._items[n] for n in wanted if n not in self._active],
            displace=[self._items[n] for n in self._active if n not in wanted_set],
        )

    # --- Filling ---------------------------------------------------------------------------------

    def restore(self, items: Iterable[Item]) -> None:
        """Take over what the journal holds; what was active is queued."""
        for item in items:
            if item.state is DownloadState.ACTIVE:
                item.state = DownloadState.QUEUED
            self._insert(item)
            self.next_id = max(self.next_id, item.id + 1)

    def add(
        self,
        content: ContentId,
        *,
        transfer: str,
        name: str,
        size: int | None,
        directory: str,
        priority: Priority,
        now: float,
        sequential: bool = False,
    ) -> Item:
        """A new download at the end of its priority; there must be none of this content."""
        item = Item(
            id=self.next_id,
            content=content,
            transfer=transfer,
            name=name,
            size=size,
            directory=directory,
            priority=priority,
            place=self._next_place(priority),
            added=now,
            sequential=sequential,
            new=True,
            bare=True,
        )
        self.next_id += 1
        self._insert(item)
        return item

    def forget(self, items: Iterable[Item]) -> None:
        """`queue clear`: as if these had never been; their ids are not used again."""
        for item in list(items):
            self._take_out(item)
            self._aside.discard(item.id)
            del self._items[item.id]
            if self._by_content.get(item.content) is item:
                del self._by_content[item.content]

    # --- States ----------------------------------------------------------------------------------

    def activate(self, item: Item) -> None:
        self._set(item, DownloadState.ACTIVE)

    def displace(self, item: Item) -> None:
        """A more urgent one takes its place: queued again, its chunks kept."""
        if item.state is DownloadState.ACTIVE:
            self._set(item, DownloadState.QUEUED)

    def step_aside(self, item: Item) -> bool:
        """All its sources make it wait: queued, and others may run before it. False if nobody would."""
        others = any(number not in self._active and number not in self._aside for number in self._ready)
        if item.state is not DownloadState.ACTIVE or len(self._aside) >= MAX_ASIDE or not others:
            return False
        self._set(item, DownloadState.QUEUED)
        self._aside.add(item.id)
        return True

    def step_back(self, item: Item) -> bool:
        """It is served again, and has its place in the order."""
        aside = item.id in self._aside
        self._aside.discard(item.id)
        return aside

    def is_aside(self, item: Item) -> bool:
        return item.id in self._aside

    def no_source(self, item: Item) -> bool:
        return self._change(item, {DownloadState.ACTIVE, DownloadState.QUEUED}, DownloadState.WAITING)

    def source_appeared(self, item: Item) -> bool:
        return self._change(item, {DownloadState.WAITING}, DownloadState.QUEUED)

    def pause(self, item: Item) -> bool:
        """Anything unfinished → paused. Returns whether that changed something, as all of these do."""
        unfinished = {DownloadState.QUEUED, DownloadState.ACTIVE, DownloadState.WAITING}
        return self._change(item, unfinished, DownloadState.PAUSED)

    def resume(self, item: Item) -> bool:
        return self._change(item, {DownloadState.PAUSED}, DownloadState.QUEUED)

    def retry(self, item: Item) -> bool:
        """Failed, cancelled and waiting → queued; what had ended goes to the end of its priority."""
        if item.state in (DownloadState.FAILED, DownloadState.CANCELLED):
            self._requeue(item)
            return True
        return self._change(item, {DownloadState.WAITING}, DownloadState.QUEUED)

    def again(self, item: Item, *, directory: str, name: str) -> None:
        """A finished download whose file is gone is fetched anew."""
        item.directory, item.name, item.path = directory, name, None
        item.bytes_done, item.bare = 0, True
        self._requeue(item)

    def cancel(self, item: Item, now: float) -> bool:
        """Anything but done → cancelled."""
        if item.state in (DownloadState.DONE, DownloadState.CANCELLED):
            return False
        self._end(item, DownloadState.CANCELLED, now)
        return True

    def finish(self, item: Item, path: str, now: float) -> None:
        item.path, item.error = path, None
        self._end(item, DownloadState.DONE, now)

    def fail(self, item: Item, problem: Problem, now: float) -> None:
        item.error = problem
        self._end(item, DownloadState.FAILED, now)

    def stream(self, item: Item) -> bool:
        """From now on in order, if it has not ended. Returns whether that is new."""
        if item.sequential or item.state.ended:
            return False
        item.sequential = True
        return True

    # --- Order -----------------------------------------------------------------------------------

    def prioritise(self, items: Iterable[Item], priority: Priority) -> list[Item]:
        """Give these a priority; each whose priority changes goes to the end of the new one."""
        changed = []
        for item in items:
            if item.priority is not priority:
                self._take_out(item)
                item.place = self._next_place(priority)
                item.priority = priority
                self._put_in(item)
                changed.append(item)
        return changed

    def move(self, items: list[Item], to: str) -> list[Item]:
        """Move within their priority; several keep their order among each other.

        :param to: top, up, down, bottom, or a position from 1.
        :raises Misuse: for anything else. Ended ones are not moved.
        """
        if not is_move(to):
            raise Misuse(f"cannot move to {printable(to, 40)!r}", "Say top, up, down, bottom or a position from 1")
        changed: dict[int, Item] = {}
        for priority in Priority:
            chosen = [item for item in items if item.priority is priority and not item.state.ended]
            if chosen:
                changed.update((item.id, item) for item in self._move_within(priority, chosen, to))
        return list(changed.values())

    def _move_within(self, priority: Priority, chosen: list[Item], to: str) -> list[Item]:
        line = [item for number in self._order if (item := self._items[number]).priority is priority]
        changed = moved(line, {item.id for item in chosen}, to)
        for item, _ in changed:
            self._take_out(item)
        for item, place in changed:
            item.place = place
            self._note_place(item)
            self._put_in(item)
        return [item for item, _ in changed]

    # --- Taking back -----------------------------------------------------------------------------

    def take_back(self, before: Remembered, after: Remembered) -> list[Item]:
        """Undo a change that led from `before` to `after`; what has changed again since stays. Returns the undone."""
        undone = []
        for number, became in after.items.items():
            item, was = self._items.get(number), before.items.get(number)
            if item is None or was is None:
                continue
            fields = zip(COMMANDED, was, became, commanded(item), strict=True)
            back = {name: old for name, old, new, is_now in fields if old != new and is_now == new}
            if back:
                self._take_out(item)
                for name, value in back.items():
                    setattr(item, name, value)
                self._put_in(item)
                undone.append(item)
        return undone

    # --- Inside ----------------------------------------------------------------------------------

    def _insert(self, item: Item) -> None:
        self._items[item.id] = item
        known = self._by_content.get(item.content)
        if known is None or known.state.ended:
            self._by_content[item.content] = item
        self._note_place(item)
        self._put_in(item)

    def _next_place(self, priority: Priority) -> int:
        """One that none of this priority has had: what left the line for a moment may come back to its old place."""
        place = self._last_places[priority] = self._last_places.get(priority, 0) + 1
        return place

    def _note_place(self, item: Item) -> None:
        self._last_places[item.priority] = max(item.place, self._last_places.get(item.priority, 0))

    def _change(self, item: Item, from_states: set[DownloadState], to: DownloadState) -> bool:
        if item.state not in from_states:
            return False
        self._set(item, to)
        return True

    def _requeue(self, item: Item) -> None:
        self._take_out(item)
        item.place = self._next_place(item.priority)
        item.state, item.error, item.finished = DownloadState.QUEUED, None, None
        self._put_in(item)

    def _end(self, item: Item, state: DownloadState, now: float) -> None:
        item.finished = now
        self._set(item, state)

    def _set(self, item: Item, state: DownloadState) -> None:
        self._aside.discard(item.id)
        self._take_out(item)
        item.state = state
        self._put_in(item)

    def _take_out(self, item: Item) -> None:
        self._active.discard(item.id)
        self._order.remove(item)
        self._ready.remove(item)

    def _put_in(self, item: Item) -> None:
        if not item.state.ended:
            self._order.insert(item)
        if item.runnable:
            self._ready.insert(item)
        if item.state is DownloadState.ACTIVE:
            self._active.add(item.id)
