"""A peer with a long list, over a real connection: announces it with a full window, goes on where it left off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from napd.errors import NapError
from napd.net.identity import Identity
from napd.wire import index as wire
from napd.wire.catalogue import CatalogueDigest, Entry, entry_digest
from tests.support.index_script import EPOCH, TLSScript, content
from tests.support.waiting import Eventually

#: Listings in one announce.
BATCH = 200
#: Of which so many lie in one folder.
ALBUM = 10


def batch_of(user: str, number: int) -> Sequence[Entry]:
    """All of them can be found by the word that `word_of` says, and by the number of their batch."""
    return [
        Entry(
            content=content(f"{user} {number} {place}"),
            size=1_000 + place,
            folder=f"music/{user} collected/album {number} {place // ALBUM}",
            name=f"{place:03} {word_of(user, number)} track - take {place % 7}.flac",
        )
        for place in range(BATCH)
    ]


def word_of(user: str, number: int) -> str:
    return f"{user}x{number}"


class Uploader(TLSScript):
    """:ivar sent: listings that went over the wire, in all. :ivar acked: revisions, in their order."""

    def __init__(self, reactor: Any, key: Identity, eventually: Eventually, user: str, batches: int) -> None:
        super().__init__(reactor, key, eventually)
        self.user = user
        self.batches = batches
        self.sent = 0
        self.acked: list[int] = []
        self._steps: deque[int] = deque()
        self._open = 0
        self._done: Deferred[None] = Deferred()
        self._acknowledged: Callable[[int], None] = lambda revision: None
        digest = CatalogueDigest()
        for number in range(1, batches + 1):
            for entry in batch_of(user, number):
                digest.add(entry_digest(entry))
        self._digest = digest.hex()

    async def come(self, address: str, index: str) -> int:
        """Log in with the whole list; the revision that the index is at."""
        await self.dial(address, index)
        welcome = await self.login(
            self.user, epoch=EPOCH, revision=self.batches, digest=self._digest, listings=self.batches * BATCH
        )
        return welcome.revision if welcome.epoch == EPOCH else 0

    def upload(self, after: int, acknowledged: Callable[[int], None] = lambda revision: None) -> Deferred[None]:
        """Announce everything after this revision; fires when all of it is acknowledged.

        :param acknowledged: called for each.
        """
        self._acknowledged = acknowledged
        self._steps = deque(range(after + 1, self.batches + 1))
        self._open = 0
        self._done = Deferred()
        self._fill()
        return self._done

    def cut(self) -> None:
        """The connection is gone, all at once."""
        assert self.link is not None
        self.link.abort(NapError("cut"))

    def line_heard(self, line: bytes) -> None:
        message = wire.decode_from_index(line)
        match message:
            case wire.Ping():
                self.say(wire.Pong())
            case wire.Ack():
                self._open -= 1
                self.acked.append(message.revision)
                self._acknowledged(message.revision)
                self._fill()
            case wire.Resync() | wire.Error() | wire.Bye():
                self._done.errback(AssertionError(f"{self.user} was told {message}"))
            case _:
                self.said.append(message)

    def _fill(self) -> None:
        while self._steps and self._open < wire.ANNOUNCE_WINDOW:
            revision = self._steps.popleft()
            last = revision == self.batches
            step = wire.Announce(
                EPOCH, revision - 1, revision, tuple(batch_of(self.user, revision)), reset=revision == 1,
                digest=self._digest if last else None,
            )  # fmt: skip
            self._open += 1
            self.sent += BATCH
            self.say(step)
        if not self._steps and not self._open and not self._done.called:
            self._done.callback(None)
