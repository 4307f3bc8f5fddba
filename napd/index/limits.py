"""What one session, one address and all together may use: each limit is here, with its reason, and is enforced."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime

from ..wire import index as wire

#: Seconds from the secured link to the login.
LOGIN_S = 15.0
#: Searches that may come at once, in seconds' worth of those in the long run.
SEARCH_BURST_S = 2.0


@frozen
class Limits:
    """
    :param listings: of one catalogue; a listing costs the index about half a kilobyte of memory.
    :param searches_per_s: of one session in the long run; `search_burst` at once.
    :param page: results of one search.
    :param wishes: that a session may have; each costs some 2 KB, and a look at what is announced now and then.
    :param connections: in all; an idle one costs some 50 KB.
    :param connections_per_address: a household or a small network behind one address; loopback is not counted.
    :param unread_bytes: waiting for a session that does not read, at which it is cut off; `unread_bytes_in_all`: for
        all such sessions together, at which whoever gets more is.
    :param under_way: announced listings, of all sessions, that are read and not visible yet, before those who announce
        more are not read any further: some 100 MB, and as much as the store does in a few seconds.
    :param errors: that one session may be answered in the long run, per second, before it is cut off.
    """

    listings: int = 500_000
    searches_per_s: float = 10.0
    search_burst: int = 20
    page: int = wire.MAX_PAGE
    wishes: int = 200
    connections: int = 12_000
    connections_per_address: int = 200
    unread_bytes: int = 8 << 20
    unread_bytes_in_all: int = 256 << 20
    under_way: int = 100_000
    errors_per_s: float = 1.0
    error_burst: int = 50

    @classmethod
    def configured(cls, values: Mapping[str, Any]) -> Limits:
        """:param values: of the settings, by name (`napd.ops.settings.INDEX_SETTINGS`)."""
        per_s = values["searches_per_s"]
        return cls(
            listings=values["listings_per_user"],
            searches_per_s=per_s,
            search_burst=ceil(SEARCH_BURST_S * per_s),
            page=values["results_per_page"],
            wishes=values["wishes_per_session"],
            connections=values["connections"],
            connections_per_address=values["connections_per_address"],
        )


@define
class Allowance:
    """So many at once, so many per second in the long run: a token bucket that starts full."""

    _clock: IReactorTime
    _per_s: float
    _burst: float
    _left: float
    _at: float

    @classmethod
    def of(cls, clock: IReactorTime, per_s: float, burst: float) -> Allowance:
        return cls(clock, per_s, burst, burst, clock.seconds())

    def take(self) -> bool:
        """Whether one more is allowed now; it is taken then."""
        now = self._clock.seconds()
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
