"""Long lists at a real index: ten at once while others search and live on, and one whose connection is cut.

Larger ones by the environment: REGISTER_LISTINGS for each of the ten (50,000), REGISTER_FIRST_LIST (200,000).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as global_reactor
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from napd.wire import index as wire
from tests.support.index_script import TLSScript, identity
from tests.support.processes import IndexProcess, Processes
from tests.support.uploader import BATCH, Uploader, word_of
from tests.support.waiting import Eventually

reactor: Any = global_reactor

UPLOADERS = 10
LISTINGS = int(os.environ.get("REGISTER_LISTINGS", "6000"))
FIRST_LIST = int(os.environ.get("REGISTER_FIRST_LIST", "20000"))
#: Seconds that a ping, and an answer, may take, whatever else the machine does.
PONG_S = 5.0
ANSWER_S = 10.0
#: Seconds for a thousand listings, on the slowest machine.
PER_THOUSAND_S = 2.0


def started(processes: Processes, tmp_path: Path) -> IndexProcess:
    settings = tmp_path / "index.toml"
    settings.write_text("searches_per_s = 1000\n")
    return processes.index("index", "--config", str(settings))


class Asker(TLSScript):
    """Somebody who asks one thing after the other."""

    _asked = 0

    async def come(self, index: IndexProcess, user: str) -> None:
        await self.dial(index.address, index.id)
        await self.login(user)

    async def found(self, query: str) -> int:
        """How many contents."""
        self._asked += 1
        self.say(wire.Search(self._asked, query, limit=wire.MAX_PAGE))
        results = 0
        while True:
            part = await self._within(ANSWER_S, wire.Results)
            results += len(part.results)
            if part.last:
                return results

    async def listings(self, user: str = "") -> int:
        """How many this one, or all together, offer."""
        self._asked += 1
        self.say(wire.Users(self._asked, user))
        answer = await self._within(ANSWER_S, wire.UserList)
        return sum(row.listings for row in answer.users)

    async def pinged(self) -> None:
        self.say(wire.Ping())
        await self._within(PONG_S, wire.Pong)

    async def _within(self, seconds: float, kind: Any) -> Any:
        await self._eventually(lambda: any(isinstance(one, kind) for one in self.said), kind.__name__, seconds)
        return await self.expect(kind)

    def line_heard(self, line: bytes) -> None:
        super().line_heard(line)
        if isinstance(self.said[-1], wire.Ping):
            self.say(wire.Pong())


def patience_s(listings: int) -> float:
    return 30.0 + listings / 1000 * PER_THOUSAND_S


@pytest.mark.limit(patience_s(UPLOADERS * LISTINGS))
@pytest.mark.timeout(patience_s(UPLOADERS * LISTINGS) + 30)
async def test_ten_peers_upload_long_lists_at_once_while_others_search_and_live_on(
    processes: Processes, tmp_path: Path, eventually: Eventually
) -> None:
    index = started(processes, tmp_path)
    peers = [
        Uploader(reactor, identity(f"up{number}"), eventually, f"up{number}", LISTINGS // BATCH)
        for number in range(UPLOADERS)
    ]
    asker, living = (Asker(reactor, identity(name), eventually) for name in ("asker", "living"))
    await asker.come(index, "asker")
    await living.come(index, "living")
    for peer in peers:
        assert await peer.come(index.address, index.id) == 0
    uploaded = gatherResults([peer.upload(0) for peer in peers], consumeErrors=True)

    async def search() -> int:
        answers = 0
        while not uploaded.called:
            word = word_of(f"up{answers % UPLOADERS}", 1 + answers % peers[0].batches)
            assert await asker.found(word) in (0, BATCH), "a batch is there as a whole or not at all"
            await asker.found("music track")
            answers += 2
        return answers

    async def live() -> int:
        pongs = 0
        while not uploaded.called:
            await living.pinged()
            pongs += 1
            await task.deferLater(reactor, 0.1)
        return pongs

    answers, pongs = await gatherResults([Deferred.fromCoroutine(search()), Deferred.fromCoroutine(live())])
    await uploaded
    assert answers > 5
    assert pongs > 5
    batches = LISTINGS // BATCH
    assert [peer.acked for peer in peers] == [list(range(1, batches + 1))] * UPLOADERS
    assert [peer.sent for peer in peers] == [batches * BATCH] * UPLOADERS
    assert await asker.listings() == UPLOADERS * batches * BATCH
    for peer in peers:
        assert await asker.found(word_of(peer.user, batches)) == BATCH
    await asker.leave()
    await living.leave()
    for peer in peers:
        await peer.leave()


@pytest.mark.limit(patience_s(FIRST_LIST))
@pytest.mark.timeout(patience_s(FIRST_LIST) + 30)
async def test_a_first_list_that_is_cut_off_goes_on_from_where_the_index_is(
    processes: Processes, tmp_path: Path, eventually: Eventually
) -> None:
    index = started(processes, tmp_path)
    asker = Asker(reactor, identity("asker"), eventually)
    await asker.come(index, "asker")
    peer = Uploader(reactor, identity("up"), eventually, "up", FIRST_LIST // BATCH)
    half = peer.batches // 2

    def look(revision: int) -> None:
        if revision == half:
            peer.cut()

    assert await peer.come(index.address, index.id) == 0
    peer.upload(0, look)
    await eventually(lambda: peer.lost is not None, "the cut", patience_s(FIRST_LIST))
    assert peer.acked == list(range(1, half + 1))
    await gone(asker, "up")

    at = await peer.come(index.address, index.id)
    assert half <= at <= half + wire.ANNOUNCE_WINDOW
    assert await asker.listings("up") == at * BATCH, "all that it had announced, and no half of a batch"
    for revision in (1, half, at):
        assert await asker.found(word_of("up", revision)) == BATCH
    assert await asker.found(word_of("up", at + 1)) == 0
    sent_before = peer.sent
    looks: list[Deferred[int]] = []

    def searchable(revision: int) -> None:
        if revision % 10 == 0 and not (looks and not looks[-1].called):
            looks.append(Deferred.fromCoroutine(asker.found(word_of("up", revision))))

    await peer.upload(at, searchable)
    assert peer.sent - sent_before == (peer.batches - at) * BATCH
    assert peer.sent <= (peer.batches + wire.ANNOUNCE_WINDOW) * BATCH
    assert await gatherResults(looks) == [BATCH] * len(looks)
    assert await asker.listings("up") == peer.batches * BATCH
    await peer.leave()
    await asker.leave()


async def gone(asker: Asker, user: str) -> None:
    """The index has seen that the connection is no more: the limit of the test is how long that may take."""
    while await asker.listings(user):
        await task.deferLater(reactor, 0.05)
    assert await asker.found("track") == 0
