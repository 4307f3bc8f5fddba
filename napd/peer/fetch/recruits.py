"""Who of all holders is wanted as a source of one download: the best, as many as there are places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

from ...discovery.interface import Holder
from ...model import PeerId
from ..sources.pool import SourcePool
from ..sources.scoring import choose, score
from ..sources.source import Source, SourceState, SourceUser
from .lane import Lane

#: Sources that have only parts may be wanted in addition, so many for each place.
PARTS_PER_PLACE = 4
#: Seconds that the best source, if it was measured before, has to get ready before others are asked.
HEAD_START_S = 0.5


class Recruits:
    """Those that are wanted, and those that may be.

    :param user: hears of the wanted when they are ready or lost.
    :param lanes: those at work, by peer.
    :param is_banned: whether this peer is to be left alone for now.
    :param is_over: whether nobody is wanted any more; joining one may end the download.
    """

    def __init__(
        self,
        *,
        user: SourceUser,
        clock: IReactorTime,
        sources: SourcePool,
        lanes: Mapping[PeerId, Lane],
        is_banned: Callable[[PeerId], bool],
        is_over: Callable[[], bool],
    ) -> None:
        self.wanted: dict[PeerId, Source] = {}
        self.holders: dict[PeerId, Holder] = {}
        self._user = user
        self._clock = clock
        self._sources = sources
        self._lanes = lanes
        self._is_banned = is_banned
        self._is_over = is_over
        self._favourite: PeerId | None = None
        self._head_start_until: float | None = None

    # --- Wanted ----------------------------------------------------------------------------------

    def renew(self) -> None:
        """The holders are others now: those of the wanted that hold it still are joined again, the others let go."""
        for peer, source in list(self.wanted.items()):
            if peer in self.holders:
                self._sources.want(self.holders[peer])
                if source.state in (SourceState.IDLE, SourceState.UNREACHABLE):
                    self._sources.join(source, self._user)
            elif peer not in self._lanes:
                # One that serves is kept although the index lost sight of it.
                self.dismiss(source)

    def dismiss(self, source: Source) -> None:
        self.wanted.pop(source.peer, None)
        self._sources.leave(source, self._user)

    def dismiss_all(self) -> None:
        for source in self.wanted.values():
            self._sources.leave(source, self._user)
        self.wanted.clear()

    def has_parts(self, peer: PeerId) -> bool:
        """Whether it has only parts, as far as discovery knows."""
        holder = self.holders.get(peer)
        return holder is not None and holder.partial

    def any_is_connecting(self) -> bool:
        return any(source.state is SourceState.CONNECTING for source in self.wanted.values())

    # --- Enlisting -------------------------------------------------------------------------------

    def enlist(self) -> None:
        """Put the best of those that are not at work to work, as long as there are places.

        Who has only parts takes up none of these: it has something for us now and then, and many together have most.
        """
        places = self._sources.places
        whole = [source for source in self.wanted.values() if not self.has_parts(source.peer)]
        free = places - sum(self._occupies(source) for source in whole)
        self._enlist_some(partial=False, most=2 * places, wanted=whole, free=free)
        parts = [source for source in self.wanted.values() if self.has_parts(source.peer)]
        self._enlist_some(partial=True, most=PARTS_PER_PLACE * places, wanted=parts, free=PARTS_PER_PLACE * places)

    def _enlist_some(self, *, partial: bool, most: int, wanted: Sequence[Source], free: int) -> None:
        """:param wanted: those of this kind that are. :param most: of them that may be wanted."""
        candidates = [peer for peer, holder in self.holders.items() if holder.partial is partial]
        candidates = [peer for peer in candidates if self._may_join(peer)] if free > 0 and not self._is_over() else []
        now = [peer for peer in candidates if self._sources.may_be_tried(self.holders[peer].addresses)]
        # If all have to be waited for, they are wanted as long as nobody else is.
        candidates = now if now or self.wanted else candidates
        if not candidates:
            return
        free = min(free, most - len(wanted) + self._make_room(wanted, most - 1))
        chosen = choose({peer: score(self._sources.facts(peer)) for peer in candidates}, max(0, free))
        if chosen and self._head_start_until is None and score(self._sources.facts(chosen[0])).measured:
            self._favourite = chosen[0]
            self._head_start_until = self._clock.seconds() + HEAD_START_S
        for peer in chosen:
            if self._is_over():
                return
            source = self.wanted[peer] = self._sources.want(self.holders[peer])
            self._sources.join(source, self._user)

    def _may_join(self, peer: PeerId) -> bool:
        return peer not in self.wanted and not self._is_banned(peer)

    def _occupies(self, source: Source) -> bool:
        """Whether it takes up a place: it serves, or is about to."""
        lane = self._lanes.get(source.peer)
        return source.state is SourceState.CONNECTING if lane is None else not (lane.waits or lane.crawling)

    def _make_room(self, wanted: Sequence[Source], most: int) -> int:
        """Let go of those that are not to be had now, if there are more than this; they may be chosen again."""
        away = [source for source in wanted if source.state is SourceState.BACKING_OFF]
        gone = away[: max(0, len(wanted) - most)]
        for source in gone:
            self.dismiss(source)
        return len(gone)

    # --- The favourite ---------------------------------------------------------------------------

    def favourite_is_awaited(self) -> bool:
        """The best source was measured before, and gets a moment to get ready."""
        if self._favourite is None or self._head_start_until is None:
            return False
        source = self.wanted.get(self._favourite)
        connecting = source is not None and source.state is SourceState.CONNECTING
        return connecting and self._clock.seconds() < self._head_start_until

    def was_awaited(self, peer: PeerId) -> bool:
        """It is ready: whether it is the favourite, which is awaited no more."""
        if peer != self._favourite:
            return False
        self._favourite = None
        return True
