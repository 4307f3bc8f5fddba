"""What a downloader serves of what it has: only what is verified, only of what is for everyone, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from napd.content.digest import CHUNK_BYTES
from napd.errors import DiskFailed
from napd.model import DownloadState
from napd.peer.files.disk import Disk
from napd.peer.item import Item
from napd.peer.serve.haves import SPACING_S
from napd.peer.serve.partial_sharing import LINGER_S, TELL_S
from napd.wire import peer as wire
from tests.support.memory import MemoryNetwork, settle
from tests.support.open_files import open_files
from tests.support.scripted_peer import ScriptedPeer, scripted_fetcher
from tests.support.swarm import Node, Town, Work, run_until

MIB = CHUNK_BYTES
CHUNKS = 12
SLOW_S = 3.0
DATA = Random(9).randbytes((CHUNKS - 1) * MIB + 77)


class Rig:
    """Ada has a file and sends it slowly, Bob downloads it, and scripted fetchers ask Bob for what he has."""

    def __init__(
        self,
        directory: Path,
        *,
        audience: tuple[str, ...] = ("everyone",),
        bob: Callable[..., Node] = Node,
    ) -> None:
        self.clock = Clock()
        self.town = Town(self.clock)
        self.network = MemoryNetwork(self.clock)
        self.ada = Node(self.town, self.network, "ada", directory / "ada")
        self.bob = bob(self.town, self.network, "bob", directory / "bob")
        self.content = self.ada.library.add("file.bin", DATA, audience)
        self.ada.up.set_rate(1e6)

    def download(self, chunks: int) -> Item:
        """Bob begins, and has so many chunks."""
        (item,) = self.bob.get(self.content)
        self.until(lambda: self.has() >= chunks)
        return item

    def has(self) -> int:
        running = self.bob.downloads.running(self.bob.downloads.queue.get(1))
        return 0 if running is None else sum(running.has(chunk) for chunk in range(CHUNKS))

    def until(self, look: object, seconds: float = 60.0) -> None:
        run_until(self.clock, look, seconds)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        end = self.clock.seconds() + seconds
        self.until(lambda: self.clock.seconds() >= end, seconds + 5)

    def fetcher(self, user: str = "cyd") -> ScriptedPeer:
        made = scripted_fetcher(self.clock)
        self.network.join("cyd.example", made.identity, self.bob.address, wire.ALPN, lambda: made.link)
        settle(self.clock)
        made.be_admitted(self.town.ticket(SimpleNamespace(user=user, key=made.identity)))  # type: ignore[arg-type]
        return made

    def told_partial(self) -> bool:
        """Whether the town tells a third party of Bob's parts."""
        return any(h.user == "bob" for h in self.town.holders(self.content, self.ada.key.id).holders)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    for node in made.town.nodes:
        assert not node.faults, "\n".join(node.faults)


def bits(message: wire.Have) -> set[int]:
    number = int.from_bytes(message.bits, "little")
    return {chunk for chunk in range(1024) if number >> chunk & 1}


def test_what_is_there_is_told_and_what_comes_as_it_does(rig: Rig) -> None:
    item = rig.download(3)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    first = cyd.last(wire.Have)
    assert (first.id, first.group, first.whole) == (1, 0, False)
    assert len(bits(first)) == rig.has() >= 3
    rig.until(lambda: len(bits(cyd.last(wire.Have))) >= 8)
    rig.until(lambda: item.state is DownloadState.DONE)
    rig.pass_time(2 * SPACING_S)
    assert bits(cyd.last(wire.Have)) == set(range(CHUNKS))


def test_chunks_that_come_together_are_told_together(rig: Rig) -> None:
    rig.download(1)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    rig.ada.up.set_rate(None)
    rig.pass_time(2)
    assert bits(cyd.last(wire.Have)) == set(range(CHUNKS))
    assert len(cyd.all(wire.Have)) <= 4


def test_verified_chunks_are_served_and_others_are_gone(rig: Rig) -> None:
    rig.download(3)
    rig.ada.up.set_rate(1.0)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    there = bits(cyd.last(wire.Have))
    have, lack = min(there), min(set(range(CHUNKS)) - there)
    cyd.get(2, rig.content, have)
    cyd.get(3, rig.content, lack)
    rig.until(lambda: bool(cyd.chunks()))
    assert cyd.chunks() == {have: DATA[have * MIB : (have + 1) * MIB]}
    assert cyd.last(wire.Gone).id == 3
    # The run goes as far as it can.
    cyd.get(4, rig.content, lack - 1, 2)
    rig.until(lambda: cyd.last(wire.Gone).id == 4)
    assert lack - 1 in cyd.chunks()


def test_the_manifest_is_served_as_far_as_it_is_known(rig: Rig) -> None:
    rig.download(1)
    cyd = rig.fetcher()
    cyd.say(wire.GetOutline(1, rig.content), wire.GetGroup(2, rig.content, 0), wire.GetGroup(3, rig.content, 1))
    rig.until(lambda: len(cyd.messages()) >= 5)
    assert cyd.last(wire.Outline).size == len(DATA)
    assert cyd.last(wire.Group).bytes == CHUNKS * 32
    assert cyd.last(wire.Gone).id == 3


def test_a_chunk_that_is_not_there_is_refused_before_a_slot_is_asked_for(rig: Rig) -> None:
    rig.download(1)
    rig.ada.up.set_rate(1.0)
    rig.bob.uploads.turns.set_limit(0)
    cyd = rig.fetcher()
    cyd.get(1, rig.content, CHUNKS - 1)
    assert cyd.last(wire.Gone).id == 1
    assert rig.bob.uploads.rows() == []


def test_what_is_there_as_a_whole_is_told_so(rig: Rig) -> None:
    cyd = rig.fetcher()
    content = rig.bob.library.add("own.bin", b"x" * 100)
    cyd.say(wire.GetHave(1, content), wire.GetHave(2, "f" * 64))
    assert cyd.messages()[-2:] == [wire.Have(1, whole=True), wire.Gone(2)]


def test_nothing_is_told_any_more_after_a_cancel(rig: Rig) -> None:
    rig.download(1)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content), wire.Cancel(1))
    before = len(cyd.all(wire.Have))
    rig.pass_time(3)
    assert len(cyd.all(wire.Have)) == before
    assert cyd.all(wire.Cancelled) == []


def test_only_so_many_contents_are_watched_on_one_connection(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_HAVES", 2)
    rig.download(1)
    cyd = rig.fetcher()
    cyd.say(*(wire.GetHave(n, rig.content) for n in range(3)))
    assert (cyd.last(wire.Error).code, cyd.last(wire.Error).id) == ("limit", 2)
    cyd.say(wire.Cancel(0), wire.GetHave(3, rig.content))
    rig.pass_time(SPACING_S * 2)
    assert cyd.last(wire.Have).id in (1, 3)
    assert len(cyd.all(wire.Error)) == 1


@pytest.mark.parametrize("how", ["pause", "cancel"])
def test_it_ends_with_the_download(rig: Rig, how: str) -> None:
    item = rig.download(3)
    rig.pass_time(TELL_S)
    assert rig.told_partial()
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    rig.bob.do(getattr(rig.bob.downloads, how)([item]))
    rig.pass_time(SPACING_S * 2)
    assert cyd.last(wire.Gone).id == 1
    cyd.get(2, rig.content, 0)
    assert cyd.last(wire.Gone).id == 2
    assert not rig.told_partial()


class SlowNode(Node):
    """A peer whose disk takes its time for one kind of work, from when it is told to."""

    def make_work(self) -> Work:
        self.slow = SlowWork(self.clock)
        return self.slow


@define
class SlowWork(Work):
    kind: str = ""
    under_way: int = 0

    def run(self, work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        if work.__name__ != self.kind:
            return super().run(work, *args)
        self.under_way += 1
        done: Deferred[Any] = deferLater(self.clock, SLOW_S, super().run, work, *args)
        return done.addBoth(self._over)

    def _over(self, result: Any) -> Any:
        self.under_way -= 1
        return result


@pytest.mark.parametrize("how", ["pause", "cancel", "fail"])
def test_a_chunk_that_is_still_being_written_when_the_download_ends_offers_nothing_again(
    tmp_path: Path, how: str
) -> None:
    class Syncs(Disk):
        good = True

        def sync_data(self, descriptor: int) -> None:
            if not self.good:
                raise DiskFailed("the disk is gone")
            super().sync_data(descriptor)

    disk = Syncs()
    rig = Rig(tmp_path, bob=lambda *of: SlowNode(*of, disk=disk))
    item = rig.download(3)
    bob = rig.bob
    assert isinstance(bob, SlowNode)
    bob.slow.kind = "_write_chunks"
    rig.until(lambda: bob.slow.under_way > 0)
    if how == "fail":
        disk.good = False
        rig.until(lambda: item.state is DownloadState.FAILED)
    else:
        rig.bob.do(getattr(rig.bob.downloads, how)([item]))
    rig.pass_time(2 * SLOW_S)
    assert rig.bob.sharing.find(rig.content) is None
    assert not rig.told_partial()
    assert not [name for name in open_files() if name.startswith(str(tmp_path / "bob" / "downloads"))]


def test_a_finished_file_is_served_a_while_and_no_longer(rig: Rig) -> None:
    rig.ada.up.set_rate(3e6)
    item = rig.download(3)
    rig.pass_time(TELL_S)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    rig.until(lambda: item.state is DownloadState.DONE)
    # Its name is another now, and even that it may lose.
    assert item.path is not None
    Path(item.path).unlink()
    cyd.get(2, rig.content, CHUNKS - 1)
    rig.until(lambda: CHUNKS - 1 in cyd.chunks())
    assert cyd.chunks()[CHUNKS - 1] == DATA[(CHUNKS - 1) * MIB :]
    for _ in range(int(LINGER_S)):
        cyd.say(wire.Ping())
        rig.pass_time(1)
    cyd.get(3, rig.content, 0)
    assert cyd.last(wire.Gone).id == 3
    assert not rig.told_partial()
    assert rig.bob.discovery.sought == {}


def test_what_lies_in_a_share_when_it_has_finished_is_served_without_a_break(rig: Rig) -> None:
    rig.ada.up.set_rate(3e6)
    item = rig.download(3)
    rig.until(lambda: item.state is DownloadState.DONE)
    cyd = rig.fetcher()
    rig.bob.up.set_rate(1.2e5)
    # The minute ends in the middle of a run.
    cyd.get(1, rig.content, 0, CHUNKS - 1)
    rig.until(lambda: bool(cyd.chunks()))
    rig.bob.library.add("file.bin", DATA)
    for _ in range(int(LINGER_S)):
        cyd.say(wire.Ping())
        rig.pass_time(1)
    rig.bob.up.set_rate(None)
    rig.until(lambda: len(cyd.chunks()) == CHUNKS - 1)
    cyd.get(2, rig.content, CHUNKS - 1)
    rig.until(lambda: len(cyd.chunks()) == CHUNKS)
    assert cyd.all(wire.Gone) == []
    assert b"".join(cyd.chunks()[chunk] for chunk in range(CHUNKS)) == DATA


def test_a_download_that_was_paused_and_goes_on_is_served_to_who_was_served_before(rig: Rig) -> None:
    item = rig.download(3)
    cyd = rig.fetcher()
    cyd.get(1, rig.content, 0)
    rig.until(lambda: bool(cyd.chunks()))
    rig.bob.do(rig.bob.downloads.pause([item]))
    cyd.get(2, rig.content, 0)
    assert cyd.last(wire.Gone).id == 2
    rig.bob.do(rig.bob.downloads.resume([item]))
    rig.until(lambda: rig.bob.sharing.find(rig.content) is not None)
    cyd.get(3, rig.content, 1)
    rig.until(lambda: 1 in cyd.chunks())


def test_what_has_finished_and_is_for_everyone_no_more_is_served_no_more(rig: Rig) -> None:
    rig.ada.up.set_rate(3e6)
    item = rig.download(3)
    rig.until(lambda: item.state is DownloadState.DONE)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    cyd.get(2, rig.content, 0)
    rig.until(lambda: bool(cyd.chunks()))
    del rig.ada.library.files[rig.content]
    rig.bob.discovery.parts.clear()
    rig.town.tell()
    rig.pass_time(SPACING_S * 2)
    assert cyd.last(wire.Gone).id == 1
    cyd.get(3, rig.content, 0)
    assert cyd.last(wire.Gone).id == 3
    # What nobody is served any more is not sought any more.
    assert rig.bob.discovery.sought == {}


def test_what_is_taken_back_while_the_file_gets_its_name_is_served_no_more(tmp_path: Path) -> None:
    rig = Rig(tmp_path, bob=SlowNode)
    bob = rig.bob
    assert isinstance(bob, SlowNode)
    rig.ada.up.set_rate(3e6)
    item = rig.download(3)
    bob.slow.kind = "_seal"
    rig.until(lambda: bob.slow.under_way > 0)
    del rig.ada.library.files[rig.content]
    bob.discovery.parts.clear()
    rig.town.tell()
    rig.until(lambda: item.state is DownloadState.DONE)
    cyd = rig.fetcher()
    cyd.get(1, rig.content, 0)
    assert cyd.last(wire.Gone).id == 1
    assert bob.discovery.sought == {}


def test_what_is_not_for_everyone_is_neither_told_nor_served(tmp_path: Path) -> None:
    rig = Rig(tmp_path, audience=("@account-bob", "@account-cyd"))
    item = rig.download(3)
    rig.pass_time(TELL_S)
    # Not even to one who might have it from its owner: Bob cannot know that.
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content), wire.GetOutline(2, rig.content))
    cyd.get(3, rig.content, 0)
    assert [gone.id for gone in cyd.all(wire.Gone)] == [1, 2, 3]
    assert not rig.told_partial()
    rig.until(lambda: item.state is DownloadState.DONE)


def test_what_is_for_everyone_no_more_is_served_no_more(rig: Rig) -> None:
    rig.download(3)
    rig.pass_time(TELL_S)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    del rig.ada.library.files[rig.content]
    rig.bob.discovery.parts.clear()
    rig.town.tell()
    rig.pass_time(SPACING_S * 2)
    assert cyd.last(wire.Gone).id == 1


def test_switched_off_nothing_is_told_or_served(tmp_path: Path) -> None:
    rig = Rig(tmp_path, bob=lambda *of: Node(*of, share_partial=False))
    rig.download(3)
    rig.pass_time(TELL_S)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    cyd.get(2, rig.content, 0)
    assert [gone.id for gone in cyd.all(wire.Gone)] == [1, 2]
    assert not rig.told_partial()


def test_a_content_of_one_chunk_has_no_parts(rig: Rig) -> None:
    small = rig.ada.library.add("small.bin", b"s" * 1000)
    rig.ada.up.set_rate(200.0)
    rig.bob.get(small)
    rig.pass_time(3)
    assert rig.bob.discovery.parts == {}


def test_after_a_restart_what_was_there_is_offered_again(rig: Rig) -> None:
    item = rig.download(5)
    rig.until(lambda: item.bytes_done >= 4 * MIB)
    rig.bob.crash()
    rig.ada.up.set_rate(1.0)
    rig.bob.start()
    rig.until(lambda: rig.content in rig.bob.discovery.parts)
    cyd = rig.fetcher()
    cyd.say(wire.GetHave(1, rig.content))
    assert len(bits(cyd.last(wire.Have))) >= 4
    cyd.get(2, rig.content, min(bits(cyd.last(wire.Have))))
    rig.until(lambda: bool(cyd.chunks()))


# --- What goes first ---------------------------------------------------------------------------------


def test_of_loose_requests_one_comes_first_whose_chunk_was_sent_to_the_fewest(rig: Rig) -> None:
    content = rig.bob.library.add("own.bin", DATA)
    rig.bob.up.set_rate(4e6)
    cyd, dan = rig.fetcher("cyd"), rig.fetcher("dan")
    cyd.get(1, content, 0, 3)
    rig.until(lambda: 2 in cyd.chunks())
    dan.say(*(wire.Get(n, content, n, loose=True) for n in range(5)))
    rig.until(lambda: len(dan.chunks()) == 5)
    # Nobody else had 3 and 4; the first was being looked at when the others came.
    order = [chunk for chunk in dan.chunks() if chunk]
    assert order[:2] == [3, 4]


def test_requests_that_are_not_loose_are_answered_as_they_came(rig: Rig) -> None:
    content = rig.bob.library.add("own.bin", DATA)
    rig.bob.up.set_rate(4e6)
    cyd, dan = rig.fetcher("cyd"), rig.fetcher("dan")
    cyd.get(1, content, 0, 3)
    rig.until(lambda: 2 in cyd.chunks())
    dan.say(*(wire.Get(n, content, n) for n in range(5)))
    rig.until(lambda: len(dan.chunks()) == 5)
    assert list(dan.chunks()) == [0, 1, 2, 3, 4]
