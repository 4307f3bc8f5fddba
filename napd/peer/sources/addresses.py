"""Back-off by address, over all contents and all peers that were ever said to be there. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

#: First wait after a failure, doubled each time up to the last; the caller spreads it by ± a quarter.
FIRST_BACK_OFF_S = 1.0
LAST_BACK_OFF_S = 60.0
#: Addresses whose failures are remembered; the one that failed longest ago is forgotten first.
MAX_ADDRESSES = 10_000


@define
class _Failures:
    count: int = 0
    retry_at: float = 0.0


@define
class Addresses:
    """Which addresses failed, how often since they last served, and when each may be tried again."""

    _failures: dict[str, _Failures] = field(factory=dict)

    def failed(self, address: str, now: float, spread: float) -> None:
        """:param spread: what the wait is multiplied by, so that not everybody comes back at once."""
        failures = self._failures.pop(address, None) or _Failures()
        failures.count += 1
        wait = min(LAST_BACK_OFF_S, FIRST_BACK_OFF_S * 2 ** min(failures.count - 1, 30))
        failures.retry_at = now + wait * spread
        self._failures[address] = failures
        if len(self._failures) > MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]

    def served(self, address: str) -> None:
        """It gave something that was good: its past is forgotten."""
        self._failures.pop(address, None)

    def forgive(self, addresses: Sequence[str]) -> None:
        """What failed before says nothing about now."""
        for address in addresses:
            self._failures.pop(address, None)

    def usable(self, addresses: Sequence[str], now: float) -> list[str]:
        """Those that may be tried now, in the order given."""
        return [address for address in addresses if self._retry_at(address) <= now]

    def retry_at(self, addresses: Sequence[str]) -> float:
        """When the first of these may be tried again."""
        return min((self._retry_at(address) for address in addresses), default=0.0)

    def _retry_at(self, address: str) -> float:
        failures = self._failures.get(address)
        return 0.0 if failures is None else failures.retry_at
