"""The announcer: nothing is sent when nothing changed, a delta when there is a log, the full list otherwise; and
whatever happens on the way, the index ends up with the same set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napd.discovery.announcer import Announcer
from napd.discovery.interface import CataloguePosition, CatalogueStep
from napd.wire import index as wire
from napd.wire.catalogue import Entry, catalogue_digest

NOTHING = "0" * 64


def entry(number: int) -> Entry:
    return Entry(content=f"{number:064x}", size=number, folder="share", name=f"{number}.txt")


@define
class Feed:
    """A catalogue with a log, as `peer.shares` keeps it: each entry with the number of its last change.

    `most` entries go into a step. `floor`: the log leads from no revision below it, but for a full list under way.
    """

    most: int = 2
    epoch: str = "e" * 64
    revision: int = 0
    floor: int = 0
    changed: dict[Entry, int] = field(factory=dict)
    present: set[Entry] = field(factory=set)
    run_to: int = 0
    run_floor: int = 0

    def change(self, one: Entry) -> None:
        """Enter it, or take it out if it is there."""
        self.revision += 1
        self.changed[one] = self.revision
        self.present ^= {one}

    def prune(self) -> None:
        """Forget what was withdrawn."""
        gone = set(self.changed) - self.present
        if gone:
            self.floor = max(self.changed.pop(one) for one in gone)

    def restart(self, epoch: str) -> None:
        """The state directory was lost: the same files, another log."""
        self.epoch, self.revision, self.floor = epoch, 0, 0
        self.changed = {}
        for one in self.present:
            self.revision += 1
            self.changed[one] = self.revision

    # --- CatalogueFeed ---------------------------------------------------------------------------

    def position(self) -> CataloguePosition:
        size = sum(one.size for one in self.present)
        return CataloguePosition(self.epoch, self.revision, catalogue_digest(self.present), len(self.present), size)

    def step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        if after == self.revision:
            return None
        if after == 0:
            self.run_to, self.run_floor = 0, self.floor
        under_way = after <= self.run_to and self.floor == self.run_floor
        if after > self.revision or (after < self.floor and not under_way):
            raise LookupError
        newer = sorted((number, one.name, one) for one, number in self.changed.items() if number > after)
        if after == 0:
            newer = [row for row in newer if row[2] in self.present]
        reached = self.revision if len(newer) <= self.most else newer[self.most - 1][0]
        part = [one for _, _, one in newer[: self.most]]
        if after <= self.run_to:
            self.run_to = max(self.run_to, reached)
        return CatalogueStep(
            revision=reached,
            add=[one for one in part if one in self.present],
            withdraw=[one for one in part if one not in self.present],
            digest=catalogue_digest(self.present) if reached == self.revision else None,
        )

    def on_change(self, heard: Callable[[], None]) -> None:
        pass


def welcome(epoch: str, revision: int, digest: str) -> wire.Welcome:
    return wire.Welcome(
        session=1,
        account="a1",
        user="ada",
        groups=(),
        ticket="t",
        time=0.0,
        observed="192.0.2.1:1",
        limits=wire.Limits(1000, 10.0, 100),
        epoch=epoch,
        revision=revision,
        digest=digest,
    )


@pytest.fixture
def feed() -> Feed:
    made = Feed()
    for number in range(1, 6):
        made.change(entry(number))
    return made


def announced(feed: Feed, *, epoch: str, revision: int, digest: str) -> list[wire.Announce]:
    """What is said at once after this welcome."""
    said: list[wire.Announce] = []
    Announcer(feed, said.append).start(welcome(epoch, revision, digest))
    return said


def test_nothing_is_said_when_the_index_has_it_all(feed: Feed) -> None:
    position = feed.position()
    assert announced(feed, epoch=position.epoch, revision=position.revision, digest=position.digest) == []


def test_what_changed_since_is_said_as_a_delta(feed: Feed) -> None:
    before = feed.position()
    feed.change(entry(1))
    feed.change(entry(9))
    (said,) = announced(feed, epoch=before.epoch, revision=before.revision, digest=before.digest)
    assert (said.base, said.revision, said.reset) == (5, 7, False)
    assert (said.add, said.withdraw) == ((entry(9),), (entry(1),))
    assert said.digest == feed.position().digest


@pytest.mark.parametrize(
    ("epoch", "revision", "digest"),
    [
        (NOTHING, 0, NOTHING),
        ("f" * 64, 5, NOTHING),
        # The index is ahead of us: our state is an older copy.
        ("e" * 64, 6, NOTHING),
        # The same revision and another digest: somebody is wrong.
        ("e" * 64, 5, "1" * 64),
    ],
)
def test_the_full_list_is_said_in_steps_when_there_is_no_common_ground(
    feed: Feed, epoch: str, revision: int, digest: str
) -> None:
    said = announced(feed, epoch=epoch, revision=revision, digest=digest)
    assert [(step.base, step.revision, step.reset) for step in said] == [(0, 2, True), (2, 4, False), (4, 5, False)]
    assert [step.digest for step in said] == [None, None, feed.position().digest]
    assert {one for step in said for one in step.add} == feed.present


def test_the_full_list_is_said_when_the_log_does_not_reach_back(feed: Feed) -> None:
    before = feed.position()
    feed.change(entry(1))
    feed.prune()
    feed.change(entry(2))
    said = announced(feed, epoch=before.epoch, revision=before.revision, digest=before.digest)
    assert said[0].reset
    assert {one for step in said for one in step.add} == feed.present


def test_an_empty_catalogue_takes_the_place_of_what_the_index_has() -> None:
    (said,) = announced(Feed(), epoch="f" * 64, revision=3, digest="1" * 64)
    assert said == wire.Announce("e" * 64, 0, 0, reset=True, digest=NOTHING)


def test_no_more_than_a_window_is_under_way() -> None:
    feed = Feed(most=1)
    for number in range(1, 30):
        feed.change(entry(number))
    said: list[wire.Announce] = []
    announcer = Announcer(feed, said.append)
    announcer.start(welcome(NOTHING, 0, NOTHING))
    assert len(said) == wire.ANNOUNCE_WINDOW
    announcer.acknowledged(wire.Ack(feed.epoch, 3))
    assert len(said) == wire.ANNOUNCE_WINDOW + 3
    announcer.acknowledged(wire.Ack("f" * 64, 29))
    announcer.acknowledged(wire.Ack(feed.epoch, 1))
    assert len(said) == wire.ANNOUNCE_WINDOW + 3


def test_nothing_is_said_after_the_end_of_the_session(feed: Feed) -> None:
    said: list[wire.Announce] = []
    announcer = Announcer(feed, said.append)
    announcer.start(welcome(feed.epoch, 5, feed.position().digest))
    announcer.stop()
    feed.change(entry(9))
    announcer.pump()
    announcer.out_of_step()
    assert said == []


def test_steps_of_an_epoch_that_is_over_free_their_place_in_the_window_when_they_are_answered() -> None:
    feed = Feed(most=1, revision=5000)
    before = feed.position()
    for number in range(1, 21):
        feed.change(entry(number))
    said: list[wire.Announce] = []
    announcer = Announcer(feed, said.append)
    announcer.start(welcome(before.epoch, before.revision, before.digest))
    answered = 0
    for epoch in "fab":
        feed.restart(epoch * 64)
        announcer.acknowledged(wire.Ack(said[answered].epoch, said[answered].revision))
        answered += 1
    while answered < len(said):
        announcer.acknowledged(wire.Ack(said[answered].epoch, said[answered].revision))
        answered += 1
        assert len(said) - answered <= wire.ANNOUNCE_WINDOW
    assert said[-1].digest == feed.position().digest
    for number in range(30, 50):
        feed.change(entry(number))
    announcer.pump()
    assert len(said) - answered == wire.ANNOUNCE_WINDOW


@define
class Index:
    """What the index does with a session's announces, in order; its words back."""

    epoch: str = NOTHING
    revision: int = 0
    held: set[Entry] = field(factory=set)
    broken: bool = False

    def take(self, step: wire.Announce) -> wire.Ack | wire.Resync | None:
        if step.reset:
            self.broken = False
            self.held = set()
        elif self.broken:
            return None
        elif (step.epoch, step.base) != (self.epoch, self.revision):
            self.broken = True
            return wire.Resync("out of step")
        self.epoch, self.revision = step.epoch, step.revision
        self.held |= set(step.add)
        self.held -= set(step.withdraw)
        if step.digest is not None and step.digest != catalogue_digest(self.held):
            self.broken = True
            return wire.Resync("another digest")
        return wire.Ack(step.epoch, step.revision)


class AnnouncingMachine(RuleBasedStateMachine):
    """Changes, steps and answers in any order, with everything that can go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed()
        self.index = Index()
        self.epochs = 0
        self.connect()

    def connect(self) -> None:
        self.to_index: deque[wire.Announce] = deque()
        self.to_peer: deque[wire.Ack | wire.Resync] = deque()
        self.index.broken = False
        self.announcer = Announcer(self.feed, self.to_index.append)
        self.announcer.start(welcome(self.index.epoch, self.index.revision, catalogue_digest(self.index.held)))

    @rule(number=st.integers(1, 12), told=st.booleans())
    def change(self, number: int, told: bool) -> None:
        self.feed.change(entry(number))
        if told:
            self.announcer.pump()

    @precondition(lambda self: self.to_index)
    @rule()
    def a_step_arrives(self) -> None:
        answer = self.index.take(self.to_index.popleft())
        if answer is not None:
            self.to_peer.append(answer)

    @precondition(lambda self: self.to_peer)
    @rule()
    def an_answer_arrives(self) -> None:
        answer = self.to_peer.popleft()
        if isinstance(answer, wire.Ack):
            self.announcer.acknowledged(answer)
        else:
            self.announcer.out_of_step()

    @rule()
    def the_link_breaks(self) -> None:
        self.announcer.stop()
        self.connect()

    @rule()
    def the_log_is_pruned(self) -> None:
        self.feed.prune()

    @rule()
    def the_log_is_started_over(self) -> None:
        self.epochs += 1
        self.feed.restart(f"{self.epochs:064x}")

    @rule(number=st.integers(1, 12))
    def the_index_loses_something(self, number: int) -> None:
        """It may be noticed late, by the digest of the next step, but it is noticed."""
        self.index.held ^= {entry(number)}
        if number % 2:
            self.index.revision = max(0, self.index.revision - 1)

    @rule()
    def the_index_asks_for_everything(self) -> None:
        self.index.broken = True
        self.to_peer.append(wire.Resync("please"))

    @invariant()
    def the_window_holds(self) -> None:
        """Of what the index will answer one by one."""
        last_run: list[wire.Announce] = []
        for step in self.to_index:
            last_run = [step] if step.reset else [*last_run, step]
        assert len(last_run) <= wire.ANNOUNCE_WINDOW

    def teardown(self) -> None:
        # One more change, so that a difference which nobody has noticed shows in a digest.
        self.change(1, True)
        for _ in range(500):
            if self.to_index:
                self.a_step_arrives()
            elif self.to_peer:
                self.an_answer_arrives()
            else:
                break
        position = self.feed.position()
        assert self.index.held == self.feed.present
        assert (self.index.epoch, self.index.revision) == (position.epoch, position.revision)


AnnouncingMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
TestAnnouncing = AnnouncingMachine.TestCase
