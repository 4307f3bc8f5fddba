"""Upload slots as connections meet them: who gets one hears it, who waits is told its place, non-readers lose it.

The rules of whose turn it is are in `slots`; the meaning of them in docs/explanation/uploads.md.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...model import ContentId
from ...ops.events import Events
from ...wire.ticket import Claims
from .places import Place, Places
from .slots import Slots

#: Seconds from one telling of places to the next: so many for each connection that waits, within these bounds. What a
#: request asks for is told at once if no more than a few wait.
TELL_S = 0.01
TELL_BOUNDS_S = (0.1, 2.0)
FEW = 8
#: Connections that are told in one go; the next ones follow when others have had the reactor.
TELL_AT_ONCE = 16
#: Seconds between looks for holders who do not read, while others wait.
WATCH_S = 1.0
#: Contents that all connections of one user may have asked for and not got.
MAX_CONTENTS_PER_USER = 2000
#: Connections of one user: a peer needs one, and a user may have several peers.
MAX_LINKS_PER_USER = 64
#: What who has asked for more is told: seconds to wait, if turns take so long that a tenth of it is done then.
RETRY_AFTER_S = (5.0, 300.0)

DEFAULT_WEIGHT = 1.0


class Holder(Protocol):
    """A connection that wants a slot; implemented by `peer.serve.bulk`."""

    claims: Claims | None
    peer: str
    #: Hangs up in good order.
    close: Callable[[], None]

    def contents(self) -> Sequence[ContentId]:
        """What is asked for and not sent yet, each once, in the order in which it will be sent."""

    def wants(self, content: ContentId) -> bool:
        """Whether that is among them."""

    def turn_began(self) -> None: ...
    def tell_places(self, place: Callable[[int], Place]) -> bool:
        """It waits; `place` tells where its n-th content stands. Returns whether there is more to tell soon."""

    def lets_us_wait(self) -> bool:
        """Whether it has taken so little for so long that others should have its slot."""


class UploadTurns:
    """
    :param weights: of groups of users; who is in none of them has `DEFAULT_WEIGHT`.
    :param free: told how many slots are free, whenever that may be another number.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        events: Events,
        slots: int,
        weights: Mapping[str, float],
        free: Callable[[int], None] = lambda free: None,
    ) -> None:
        self._free = free
        self._clock = clock
        self._events = events
        self._slots = Slots[Holder](slots)
        self._weights = dict(weights)
        self._turns: dict[Holder, Deferred[None]] = {}
        self._granted: deque[Holder] = deque()
        self._handing_out = False
        self._contents: Counter[str] = Counter()
        self._links: Counter[str] = Counter()
        self._told_at = float("-inf")
        self._teller: IDelayedCall | None = None
        self._untold = False
        self._stopped = False
        self._watcher: IDelayedCall | None = None

    # --- Asking and giving back ------------------------------------------------------------------

    def ask(self, holder: Holder, rank: int, *, another: bool = False) -> Deferred[None] | None:
        """None: the holder has a slot, or has kept it. Otherwise fires when it gets one, or waits no more.

        :param rank: of its most urgent request. :param another: it is for another file than what was sent before.
        """
        now = self._clock.seconds()
        if not self._slots.must_pass(holder, rank, now, another=another):
            return None
        self._queue(holder, rank)
        self._hand_out()
        if self._slots.holds(holder):
            return None
        turn = self._turns.get(holder)
        if turn is None:
            turn = self._turns[holder] = Deferred(lambda _: self.release(holder))
            self._changed(asked=True)
        return turn

    def asks_for_more(self, holder: Holder, rank: int) -> None:
        """What a waiting holder has asked for is other than before."""
        if holder in self._turns:
            self._queue(holder, rank)
            self._changed(asked=True)

    def gives_up(self, holder: Holder) -> None:
        """A waiting holder has nothing to wait for any more."""
        turn = self._turns.pop(holder, None)
        self.release(holder)
        if turn is not None:
            turn.callback(None)

    def release(self, holder: Holder) -> None:
        """The holder needs its slot no more, or waits no more."""
        self._turns.pop(holder, None)
        self._slots.give_back(holder, self._clock.seconds())
        self._hand_out()

    def is_over(self, holder: Holder, rank: int) -> bool:
        """Between two chunks: whether the holder has to ask again before the next, which has this rank."""
        return self._slots.must_pass(holder, rank, self._clock.seconds(), another=False)

    def sent(self, holder: Holder, size: int) -> None:
        self._slots.sent(holder, size)

    def share(self, holder: Holder) -> float:
        """The part of what is sent that is due to this connection just now."""
        return self._slots.share(holder)

    def weight(self, claims: Claims | None) -> float:
        """The most that one of the user's groups has."""
        known = [] if claims is None else [self._weights[group] for group in claims.groups if group in self._weights]
        return max(known, default=DEFAULT_WEIGHT)

    # --- What may wait ---------------------------------------------------------------------------

    def enter(self, holder: Holder) -> bool:
        """Whether its user may have one more connection; if so, `leave` ends it."""
        user = user_of(holder)
        if self._links[user] >= MAX_LINKS_PER_USER:
            name = "" if holder.claims is None else holder.claims.user
            self._events.emit("limit.hit", limit="peer.user_links", peer=holder.peer, user=name)
            return False
        self._links[user] += 1
        return True

    def leave(self, holder: Holder) -> None:
        user = user_of(holder)
        self._links[user] -= 1
        if not self._links[user]:
            del self._links[user]

    def take_on(self, holder: Holder) -> float | None:
        """One more content is asked for by this connection: None if there is room, else in how many seconds."""
        user = user_of(holder)
        if self._contents[user] < MAX_CONTENTS_PER_USER:
            self._contents[user] += 1
            return None
        least, most = RETRY_AFTER_S
        turn_s = self._slots.turn_s or 0.0
        return min(most, max(least, turn_s * MAX_CONTENTS_PER_USER / 10 / max(1, self._slots.limit)))

    def drop(self, holder: Holder, contents: int = 1) -> None:
        """So many contents of this connection are answered, or not wanted any more."""
        user = user_of(holder)
        self._contents[user] -= contents
        if self._contents[user] <= 0:
            del self._contents[user]

    # --- The limit -------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        return self._slots.limit

    def set_limit(self, limit: int) -> None:
        """More take effect at once; with fewer, turns end with the next chunks until it is so."""
        self._slots.limit = limit
        self._hand_out()

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """From each user's next turn on."""
        self._weights = dict(weights)

    # --- Looking ---------------------------------------------------------------------------------

    def waiting(self) -> list[tuple[Holder, Callable[[int], Place]]]:
        """Those who wait, in the order of their turns, with the places of their contents."""
        places = self._places()
        return [(holder, _of(places, holder)) for holder in places.holders()]

    @property
    def contended(self) -> bool:
        """Whether somebody waits."""
        return bool(self._turns)

    def contents(self) -> int:
        """How many wait or are being sent, in all."""
        return self._contents.total()

    def stop(self) -> None:
        self._stopped = True
        for call in (self._teller, self._watcher):
            if call is not None and call.active():
                call.cancel()

    # --- Inside ----------------------------------------------------------------------------------

    def _queue(self, holder: Holder, rank: int) -> None:
        weight = self.weight(holder.claims)
        self._slots.ask(holder, user_of(holder), weight, rank, self._clock.seconds())

    def _hand_out(self) -> None:
        """Whoever hears of its slot may ask and give back at once; that is seen to here, and not deeper and deeper."""
        self._granted += self._slots.grant(self._clock.seconds())
        if self._handing_out:
            return
        self._handing_out = True
        try:
            while self._granted:
                holder = self._granted.popleft()
                holder.turn_began()
                turn = self._turns.pop(holder, None)
                if turn is not None:
                    turn.callback(None)
        finally:
            self._handing_out = False
        self._free(max(0, self._slots.limit - len(self._slots.holders())))
        self._changed()

    def _changed(self, *, asked: bool = False) -> None:
        self._untold = True
        if not self._slots.contended or self._stopped:
            return
        if self._watcher is None:
            self._watcher = self._clock.callLater(WATCH_S, self._watch)
        waiting = len(self._turns)
        if asked and waiting <= FEW:
            wait_s = 0.0
        else:
            least, most = TELL_BOUNDS_S
            wait_s = max(0.0, self._told_at + min(most, max(least, TELL_S * waiting)) - self._clock.seconds())
        if self._teller is None:
            self._teller = self._clock.callLater(wait_s, self._tell)
        elif self._teller.getTime() > self._clock.seconds() + wait_s:
            self._teller.reset(wait_s)

    def _tell(self) -> None:
        self._told_at = self._clock.seconds()
        self._untold = False
        places = self._places()
        self._tell_some(places, iter(places.holders()))

    def _tell_some(self, places: Places[Holder], left: Iterator[Holder]) -> None:
        """What changes meanwhile is told the next time."""
        some = list(islice(left, TELL_AT_ONCE))
        for holder in some:
            if holder in self._turns and holder.tell_places(_of(places, holder)):
                self._untold = True
        if len(some) == TELL_AT_ONCE and not self._stopped:
            self._teller = self._clock.callLater(0, self._tell_some, places, left)
            return
        self._teller = None
        if self._untold:
            self._changed()

    def _watch(self) -> None:
        self._watcher = None
        for holder in self._slots.holders():
            if self._slots.contended and holder.lets_us_wait():
                user = "" if holder.claims is None else holder.claims.user
                self._events.emit("limit.hit", limit="upload.unread", peer=holder.peer, user=user)
                self.release(holder)
        self._changed()

    def _places(self) -> Places[Holder]:
        slots = self._slots
        return Places(slots.in_turn(), lambda holder: len(holder.contents()), slots.turn_s, slots.limit)


def user_of(holder: Holder) -> str:
    """Several connections, and several peers, of one account are one user."""
    return "" if holder.claims is None else holder.claims.account


def _of(places: Places[Holder], holder: Holder) -> Callable[[int], Place]:
    return lambda nth: places.of(holder, nth)
