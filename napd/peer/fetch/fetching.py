"""The fetching end of a peer link: the greeting, what the source says, and whether it is still there.

One `FetchSession` serves all downloads that use the same source. It knows the protocol and nothing of files, queues
or choices; what they ask, and what comes of it, is in its `requests`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...errors import NapError, RemoteProtocolError, SourceFailed, TimedOut, printable
from ...net.buffers import Buffers
from ...net.identity import PublicKey
from ...net.link import SecureLink
from ...net.pacing import Pacer
from ...wire import peer as wire
from ...wire.line import understand
from ..sources.throughput import Throughput
from .patience import WATCH_S, Patience
from .requests import Requests

#: Seconds from the secured link to `admitted`.
ADMISSION_S = 10.0
#: Seconds without a word from us to a source that tells what it has, after which we ping.
KEEP_ALIVE_S = 20.0


class FetchSession:
    """A `LinkUser` in the role ``fetch``.

    :param ticket: what to show; asked when it is needed.
    :param ready: called once the source has admitted us.
    :param ended: called once when the link is gone, with the reason.
    :param buffers: what large chunks are put into, of the size of a chunk; all sessions may share it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        agent: str,
        ticket: Callable[[], str | None],
        pacer: Pacer,
        ready: Callable[[FetchSession], None],
        ended: Callable[[FetchSession, NapError], None],
        buffers: Buffers,
    ) -> None:
        self._clock = clock
        self._agent = agent
        self._ticket = ticket
        self._pacer = pacer
        self._ready = ready
        self._ended = ended
        self._link: SecureLink | None = None
        self._greeted = False
        self._admitted = False
        self._said_at = 0.0
        self._patience = Patience()
        self.requests = Requests(clock, self._patience, buffers, self._say, self._expect_raw)
        self._pinged_at: float | None = None
        self._check: IDelayedCall | None = None
        self._resume: IDelayedCall | None = None
        self.rtt_s: float | None = None

    def attach(self, link: SecureLink) -> None:
        """The link that carries this session; before it connects."""
        self._link = link

    @property
    def alive(self) -> bool:
        return self._admitted and self._link is not None

    def prove(self) -> None:
        """The peer is said to have come back: unless it gives a sign of life soon, this link is of the time before."""
        if self._admitted:
            self._patience.ask_for_proof(self._clock.seconds())
            if self._pinged_at is None:  # This is said once for each content that the peer has.
                self._ping()

    def close(self) -> None:
        """Hang up; whoever still waits is told."""
        if self._link is not None:
            self._link.hang_up()

    # --- How it does -----------------------------------------------------------------------------

    @property
    def throughput(self) -> Throughput:
        return self._patience.throughput

    @property
    def stuck_s(self) -> float:
        """Seconds since the last byte of what is owed."""
        return self._patience.stuck_s

    @property
    def doubtful(self) -> bool:
        """It owes something and sends nothing: what it was asked for had better be asked of others."""
        return self._patience.doubtful

    @property
    def throttled(self) -> bool:
        """Our own limit slows it down: its pace says nothing about it."""
        return self._patience.throttled(self._clock.seconds())

    # --- LinkUser --------------------------------------------------------------------------------

    def link_secured(self, key: PublicKey) -> None:
        self._patience.heard(self._clock.seconds())
        self._check = self._clock.callLater(ADMISSION_S, self._not_admitted)
        self._say(wire.Hello((wire.VERSION,), self._agent, "fetch", (wire.FEATURE_HAVE,)))

    def line_heard(self, line: bytes) -> None:
        self._patience.heard(self._clock.seconds())
        message = understand(line, wire.decode_from_server, self._refuse, greeted=self._greeted)
        if message is not None:
            self._handle(message)

    def raw_heard(self, data: bytes | memoryview) -> None:
        self.requests.raw_heard(data)
        self._slow_down(len(data))
        self.requests.hand_on()

    def link_lost(self, reason: NapError) -> None:
        self._link = None
        self._admitted = False
        for call in (self._check, self._resume):
            if call is not None and call.active():
                call.cancel()
        failure = reason if isinstance(reason, SourceFailed) else SourceFailed(reason.message, code=_lost_code(reason))
        self.requests.fail(failure)
        self._ended(self, failure)

    # --- What the source says --------------------------------------------------------------------

    def _handle(self, message: wire.FromServer) -> None:
        if isinstance(message, wire.Chunk):
            self.requests.chunk_announced(message)
        elif isinstance(message, wire.Outline | wire.Group):
            self.requests.manifest_announced(message)
        elif isinstance(message, wire.Queued):
            self.requests.queued(message)
        elif isinstance(message, wire.Have):
            self.requests.have_told(message)
        elif isinstance(message, wire.Gone):
            self.requests.refused(message.id, SourceFailed("the source does not have it any more", code="gone"))
        elif isinstance(message, wire.Busy):
            failure = SourceFailed("the source is busy", code="busy", retry_after_s=message.retry_after_s)
            self.requests.refused(message.id, failure)
        elif isinstance(message, wire.Cancelled):
            # Nobody hears of it if it was cancelled here; a source that drops what is wanted is no use.
            self.requests.refused(message.id, SourceFailed("the source dropped a request", code="refused"))
        elif isinstance(message, wire.Error):
            failure = SourceFailed(f"the source refused: {printable(message.message)}", code="refused")
            self.requests.refused(message.id, failure)
        elif isinstance(message, wire.Ping):
            self._say(wire.Pong(message.n))
        elif isinstance(message, wire.Pong):
            if self._pinged_at is not None:
                self.rtt_s = self._clock.seconds() - self._pinged_at
                self._pinged_at = None
        elif isinstance(message, wire.Hello):
            self._hello_heard(message)
        elif isinstance(message, wire.Admitted):
            self._admitted_heard()
        else:
            self._bye_heard(message)

    def _hello_heard(self, hello: wire.Hello) -> None:
        if self._greeted:
            raise RemoteProtocolError("a second hello", code="order")
        if wire.VERSION not in hello.versions:
            raise RemoteProtocolError("no common version", code="version")
        if hello.role != "serve":
            raise RemoteProtocolError("both ends want to fetch", code="role")
        self._greeted = True
        self.requests.features_told(hello.features)
        ticket = self._ticket()
        if ticket is None:
            raise RemoteProtocolError("there is no ticket to show yet", code="no_ticket")
        self._say(wire.Ticket(ticket))
        # The answer to this is the first measure of how near the source is.
        self._ping()

    def _admitted_heard(self) -> None:
        if self._admitted:
            return
        self._admitted = True
        if self._check is not None:
            self._check.cancel()
        self._patience.look(self._clock.seconds())
        self._check = self._clock.callLater(WATCH_S, self._watch)
        self._ready(self)

    def _bye_heard(self, bye: wire.Bye) -> None:
        link = self._link
        if link is not None:
            link.abort(SourceFailed(f"the source hung up: {printable(bye.message)}", code=printable(bye.code, 40)))

    # --- Deadlines -------------------------------------------------------------------------------

    def _not_admitted(self) -> None:
        if self._link is not None:
            self._link.abort(SourceFailed("the source did not admit us in time", code="timeout"))

    def _watch(self) -> None:
        """Is the source still there, and does it still send what it owes?"""
        link = self._link
        if link is None:
            return
        self.requests.owes_changed()
        why = self._patience.look(self._clock.seconds())
        if why is not None:
            link.abort(SourceFailed(why, code="stalled"))
            return
        # One that tells what it has is not silent, and must hear of us all the same.
        quiet_s = self._clock.seconds() - self._said_at if self.requests.watching else 0.0
        due = self._patience.silent_s >= wire.HEARTBEAT_S or quiet_s >= KEEP_ALIVE_S
        if due and self._pinged_at is None and not self.requests.receiving:
            self._ping()
        self._check = self._clock.callLater(WATCH_S, self._watch)

    def _ping(self) -> None:
        self._pinged_at = self._clock.seconds()
        self._say(wire.Ping())

    def _slow_down(self, size: int) -> None:
        """Stop reading for a while if the download limit says so; what the source sends waits in its own buffers."""
        delay = self._pacer.delay_after(size)
        link = self._link
        if delay > 0.01 and self._resume is None and link is not None:
            self._patience.pause(self._clock.seconds(), delay)
            link.pause_reading()
            self._resume = self._clock.callLater(min(delay, 2.0), self._read_on)

    def _read_on(self) -> None:
        self._resume = None
        self._patience.resume(self._clock.seconds())
        delay = self._pacer.delay_after(0)
        link = self._link
        if link is None:
            return
        if delay > 0.01:
            self._patience.pause(self._clock.seconds(), delay)
            self._resume = self._clock.callLater(min(delay, 2.0), self._read_on)
        else:
            link.resume_reading()

    # --- Out -------------------------------------------------------------------------------------

    def _expect_raw(self, size: int, into: memoryview | None) -> None:
        if self._link is not None:
            self._link.expect_raw(size, into)

    def _refuse(self, code: str, message: str, about: int | None) -> None:
        self._say(wire.Error(code, message, about))

    def _say(self, *messages: wire.FromFetcher) -> None:
        self._said_at = self._clock.seconds()
        for message in messages:
            if self._link is not None:
                self._link.say(message)


def _lost_code(reason: NapError) -> str:
    return reason.code if reason.code not in ("failed", TimedOut.code) else "lost"
