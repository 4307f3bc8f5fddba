"""What a serving link sends: lines, and chunks that no line ever comes into the middle of."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from ...errors import RemoteProtocolError, TimedOut
from ...net.link import SecureLink
from ...wire import peer as wire

#: Seconds without the other end taking a byte that it asked for, after which it is cut off.
UNREAD_S = 60.0
#: Seconds between two looks at whether it has taken any.
LOOK_S = 5.0


class Outlet:
    """One link as the serving end's parts share it. `link` is None before it is there and when it is gone."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.link: SecureLink | None = None
        self._in_chunk = False
        self._after_chunk: list[wire.FromServer] = []
        self._chunk_over: list[Deferred[None]] = []

    def say(self, message: wire.FromServer) -> None:
        """A line, at once or after the chunk that is being sent."""
        if self._in_chunk:
            if len(self._after_chunk) > 2 * wire.MAX_OUTSTANDING:
                raise RemoteProtocolError("too much is asked at once", code="limit")
            self._after_chunk.append(message)
        elif self.link is not None:
            self.link.say(message)

    def begin_chunk(self, header: wire.Chunk) -> SecureLink | None:
        """Say the header; raw bytes alone go to the link that is returned, until `end_chunk`."""
        if self.link is not None:
            self.link.say(header)
            self._in_chunk = True
        return self.link

    def end_chunk(self) -> None:
        self._in_chunk = False
        waiting, self._after_chunk = self._after_chunk, []
        for message in waiting:
            self.say(message)
        over, self._chunk_over = self._chunk_over, []
        for one in over:
            one.callback(None)

    def between_chunks(self) -> Deferred[None]:
        """Fires when something with raw bytes may be sent: now, or after the chunk that is being sent."""
        if not self._in_chunk:
            return succeed(None)
        over: Deferred[None] = Deferred(lambda one: self._chunk_over.remove(one))
        self._chunk_over.append(over)
        return over

    async def drained(self, link: SecureLink) -> None:
        """Returns when the link takes more; it is cut off if the other end takes nothing for too long."""
        drained = link.drained()
        if drained.called:
            return
        patience = _Patience(self._clock, link)
        try:
            await drained
        finally:
            patience.end()

    def hang_up(self, last: wire.Bye | None) -> None:
        """In the middle of a chunk without the last word."""
        if self.link is not None:
            self.link.hang_up(None if self._in_chunk else last)


class _Patience:
    """Cuts a link off whose other end takes nothing for `UNREAD_S`. A slow reader of a big block is no deaf one."""

    def __init__(self, clock: IReactorTime, link: SecureLink) -> None:
        self._clock = clock
        self._link = link
        self._unsent = link.unsent_bytes
        self._taken_at = clock.seconds()
        self._look = clock.callLater(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        now, unsent = self._clock.seconds(), self._link.unsent_bytes
        if unsent < self._unsent:
            self._taken_at = now
        # Lines may have come on top.
        self._unsent = unsent
        if now - self._taken_at >= UNREAD_S:
            self._link.abort(TimedOut("the other end does not read what it asked for"))
        else:
            self._look = self._clock.callLater(LOOK_S, self._look_again)

    def end(self) -> None:
        if self._look.active():
            self._look.cancel()
