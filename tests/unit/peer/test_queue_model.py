"""The queue and its journal against plain lists: any commands in any order, refused ones among them, and restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred, maybeDeferred

from napd.model import ContentId, DownloadState, Priority
from napd.peer.files.journal import SCHEMA, Journal
from napd.peer.item import Item, Remembered
from napd.peer.queue import Queue
from napd.wire.documents import Problem

QUEUED, ACTIVE, WAITING, PAUSED = (
    DownloadState.QUEUED,
    DownloadState.ACTIVE,
    DownloadState.WAITING,
    DownloadState.PAUSED,
)
DONE, FAILED, CANCELLED = DownloadState.DONE, DownloadState.FAILED, DownloadState.CANCELLED

PRIORITIES = st.sampled_from(list(Priority))
#: Which of the downloads there are a command is about; numbers beyond the last are none.
CHOICES = st.sets(st.integers(0, 7), min_size=1, max_size=4)


class Inline:
    """A journal's thread that is done at once."""

    def run(self, work: Any, /, *args: Any) -> Deferred[Any]:
        return maybeDeferred(work, *args)


@define
class Entry:
    """What the model knows of a download; where it stands is in the lists."""

    content: str
    priority: Priority
    state: DownloadState
    sequential: bool = False


class QueueMachine(RuleBasedStateMachine):
    """The model: one list of ids per priority of those that have not ended, and an entry for each download.

    Every change is journalled as `Downloads` does it: only what the queue says it has changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Priority, list[int]] = {priority: [] for priority in Priority}
        self.entries: dict[int, Entry] = {}
        self.given = 0
        self.now = 0.0

    @initialize()
    def open(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for script in SCHEMA:
            self.connection.executescript(script)
        self.journal = Journal(self.connection, Inline())
        self.queue = Queue()

    def teardown(self) -> None:
        self.connection.close()

    # --- The model -------------------------------------------------------------------------------

    def chosen(self, choice: Iterable[int]) -> list[int]:
        numbers = list(self.entries)
        return [numbers[at] for at in choice if at < len(numbers)]

    def items(self, numbers: Iterable[int]) -> list[Item]:
        return [self.queue.get(number) for number in numbers]

    def leave(self, number: int) -> None:
        """It stands in no line any more."""
        for line in self.lines.values():
            if number in line:
                line.remove(number)

    def join(self, number: int) -> None:
        """It stands at the end of its priority's line."""
        self.leave(number)
        self.lines[self.entries[number].priority].append(number)

    def live(self) -> list[int]:
        return [number for line in self.lines.values() for number in line]

    def save(self, items: Iterable[Item]) -> None:
        saved = []
        self.journal.save(list(items), self.queue.next_id).addBoth(saved.append)
        assert saved == [None]

    # --- Taking on and forgetting ----------------------------------------------------------------

    @precondition(lambda self: len(self.entries) < 8)
    @rule(priority=PRIORITIES, sequential=st.booleans())
    def add(self, priority: Priority, sequential: bool) -> None:
        content = f"{self.queue.next_id:064x}"
        item = self.queue.add(
            ContentId(content),
            transfer=f"{self.queue.next_id:016x}",
            name=f"file {self.queue.next_id}",
            size=10,
            directory="/downloads",
            priority=priority,
            now=self.now,
            sequential=sequential,
        )
        self.given += 1
        assert item.id == self.given, "ids count on, whatever was forgotten"
        self.entries[item.id] = Entry(content, priority, QUEUED, sequential)
        self.join(item.id)
        self.save([item])

    @rule(choice=CHOICES)
    def forget(self, choice: set[int]) -> None:
        """`queue clear`."""
        gone = [number for number in self.chosen(choice) if self.entries[number].state.ended]
        items = self.items(gone)
        self.journal.forget(items)
        self.queue.forget(items)
        for number in gone:
            del self.entries[number]

    # --- States ----------------------------------------------------------------------------------

    def command(
        self,
        choice: Iterable[int],
        allowed: set[DownloadState],
        to: DownloadState,
        change: Callable[[Item], bool],
    ) -> None:
        """Those in the allowed states change, the others do not; a second time nothing does."""
        for number in self.chosen(choice):
            entry, item = self.entries[number], self.queue.get(number)
            if change(item):
                assert entry.state in allowed
                was_over, entry.state = entry.state.ended, to
                if to.ended:
                    self.leave(number)
                elif was_over:
                    self.join(number)
                self.save([item])
            else:
                assert entry.state not in allowed
            assert not change(item), "idempotent"

    @rule(choice=CHOICES)
    def pause(self, choice: set[int]) -> None:
        self.command(choice, {QUEUED, ACTIVE, WAITING}, PAUSED, lambda item: self.queue.pause(item))

    @rule(choice=CHOICES)
    def resume(self, choice: set[int]) -> None:
        self.command(choice, {PAUSED}, QUEUED, lambda item: self.queue.resume(item))

    @rule(choice=CHOICES)
    def retry(self, choice: set[int]) -> None:
        self.command(choice, {FAILED, CANCELLED, WAITING}, QUEUED, lambda item: self.queue.retry(item))

    @rule(choice=CHOICES)
    def cancel(self, choice: set[int]) -> None:
        allowed = {QUEUED, ACTIVE, WAITING, PAUSED, FAILED}
        self.command(choice, allowed, CANCELLED, lambda item: self.queue.cancel(item, self.now))

    @rule(choice=CHOICES)
    def no_source(self, choice: set[int]) -> None:
        self.command(choice, {QUEUED, ACTIVE}, WAITING, lambda item: self.queue.no_source(item))

    @rule(choice=CHOICES)
    def source_appeared(self, choice: set[int]) -> None:
        self.command(choice, {WAITING}, QUEUED, lambda item: self.queue.source_appeared(item))

    @rule(choice=CHOICES, well=st.booleans())
    def end(self, choice: set[int], well: bool) -> None:
        """By themselves; a download that was paused meanwhile may have been finished all the same."""
        self.now += 1.0
        for number in self.chosen(choice):
            entry, item = self.entries[number], self.queue.get(number)
            if entry.state.ended:
                continue
            if well:
                self.queue.finish(item, "/downloads/x", self.now)
            else:
                self.queue.fail(item, Problem("disk", "broken"), self.now)
            entry.state = DONE if well else FAILED
            self.leave(number)
            self.save([item])

    @rule(choice=CHOICES)
    def again(self, choice: set[int]) -> None:
        """Finished, and its file is gone."""
        for number in self.chosen(choice):
            entry, item = self.entries[number], self.queue.get(number)
            if entry.state is DONE:
                self.queue.again(item, directory="/elsewhere", name="again")
                entry.state = QUEUED
                self.join(number)
                self.save([item])

    @rule(choice=CHOICES)
    def stream(self, choice: set[int]) -> None:
        for number in self.chosen(choice):
            entry, item = self.entries[number], self.queue.get(number)
            assert self.queue.stream(item) is (not entry.sequential and not entry.state.ended)
            entry.sequential |= not entry.state.ended
            self.save([item])

    # --- Order -----------------------------------------------------------------------------------

    @rule(choice=CHOICES, priority=PRIORITIES)
    def prioritise(self, choice: set[int], priority: Priority) -> None:
        numbers = self.chosen(choice)
        expected = [number for number in numbers if self.entries[number].priority is not priority]
        changed = self.queue.prioritise(self.items(numbers), priority)
        assert [item.id for item in changed] == expected
        for number in expected:
            self.entries[number].priority = priority
            if not self.entries[number].state.ended:
                self.join(number)
        assert self.queue.prioritise(self.items(numbers), priority) == []
        self.save(changed)

    @rule(choice=CHOICES, to=st.sampled_from(["top", "bottom", "up", "down", "1", "2", "3", "99"]))
    def move(self, choice: set[int], to: str) -> None:
        numbers = self.chosen(choice)
        for line in self.lines.values():
            line[:] = moved(line, set(numbers), to)
        self.save(self.queue.move(self.items(numbers), to))

    @rule(limit=st.integers(0, 4))
    def run(self, limit: int) -> None:
        plan = self.queue.schedule(limit)
        wanted = [number for number in self.live() if self.entries[number].state in (QUEUED, ACTIVE)][:limit]
        active = {number for number, entry in self.entries.items() if entry.state is ACTIVE}
        assert [item.id for item in plan.start] == [number for number in wanted if number not in active]
        assert {item.id for item in plan.displace} == active - set(wanted)
        for item in plan.displace:
            self.queue.displace(item)
            self.entries[item.id].state = QUEUED
        for item in plan.start:
            self.queue.activate(item)
            self.entries[item.id].state = ACTIVE
        again = self.queue.schedule(limit)
        assert not again.start and not again.displace

    # --- What goes wrong -------------------------------------------------------------------------

    @rule(
        choice=CHOICES,
        how=st.sampled_from(["pause", "cancel", "retry", "prioritise", "move"]),
        other=CHOICES,
        priority=PRIORITIES,
    )
    def a_command_that_cannot_be_journalled(
        self, choice: set[int], how: str, other: set[int], priority: Priority
    ) -> None:
        """It changes nothing in the end; what is commanded before that is known stays."""
        items = self.items(self.chosen(choice))
        before = Remembered.of(self.queue)
        if how == "move":
            changed = self.queue.move(items, "top")
        elif how == "prioritise":
            changed = self.queue.prioritise(items, priority)
        elif how == "cancel":
            changed = [item for item in items if self.queue.cancel(item, self.now)]
        else:
            changed = [item for item in items if getattr(self.queue, how)(item)]
        after = Remembered.of(changed)
        untouched = {item.id for item in changed}
        resumed = [n for n in self.chosen(other) if n not in untouched and self.entries[n].state is PAUSED]
        for item in self.items(resumed):
            self.queue.resume(item)
            self.entries[item.id].state = QUEUED
            self.save([item])
        if len(self.entries) < 8:
            self.add(priority if items == [] else self.entries[items[0].id].priority, False)
        self.queue.take_back(before, after)

    @rule()
    def restart(self) -> None:
        """The journal holds the same queue; what was active is queued."""
        items, next_id = self.journal.load()
        self.queue = Queue()
        self.queue.restore(items)
        self.queue.next_id = max(self.queue.next_id, next_id)
        for entry in self.entries.values():
            if entry.state is ACTIVE:
                entry.state = QUEUED

    # --- Always ----------------------------------------------------------------------------------

    @invariant()
    def it_is_as_the_model(self) -> None:
        if not hasattr(self, "queue"):
            return
        live = self.live()
        assert [item.id for item in self.queue if not item.state.ended] == live
        assert self.queue.positions() == {number: place for place, number in enumerate(live, 1)}
        assert len(self.queue) == len(self.entries)
        for number, entry in self.entries.items():
            item = self.queue.get(number)
            assert (item.content, item.priority, item.state) == (entry.content, entry.priority, entry.state)
            assert item.sequential is entry.sequential
            assert self.queue.of_content(item.content) is item
            assert self.queue.position(item) == (None if entry.state.ended else live.index(number) + 1)
        counts = self.queue.counts()
        for state in DownloadState:
            assert counts[state] == sum(entry.state is state for entry in self.entries.values())


def moved(line: list[int], chosen: set[int], to: str) -> list[int]:
    """Where `queue move` leaves one priority's line."""
    block = [number for number in line if number in chosen]
    rest = [number for number in line if number not in chosen]
    if to in ("up", "down"):
        after = line if to == "up" else line[::-1]
        for at in range(1, len(after)):
            if after[at] in chosen and after[at - 1] not in chosen:
                after[at - 1 : at + 1] = after[at], after[at - 1]
        return after if to == "up" else after[::-1]
    at = {"top": 0, "bottom": len(rest)}.get(to)
    at = min(int(to) - 1, len(rest)) if at is None else at
    return rest[:at] + block + rest[at:]


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
