"""Where accounts online connect from: many of one network are one person's as likely as many people's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network

import numpy as np

from .columns import Column, Ids

#: Sources of one network that count in the ranking; of more, only so many do.
MOST = 4
#: Bits of an address that name its network: what one customer is given, at most.
_BITS = {4: 24, 6: 48}


def network_of(host: str) -> str | None:
    """The network of a public address. Private ones have none: a club behind one router is many people."""
    try:
        number = ip_address(host)
    except ValueError:
        return None
    return str(ip_network(f"{host}/{_BITS[number.version]}", strict=False)) if number.is_global else None


class Networks:
    """Of accounts online, by number."""

    def __init__(self) -> None:
        self._network: dict[int, str | None] = {}
        self._sizes: Counter[str] = Counter()
        #: Those with more than `MOST` accounts.
        self._crowded: set[str] = set()
        #: By content: one more than its sources beyond what counts, as long as its sources stay; 0: not counted.
        self._excess = Column(np.uint32)
        self._counted = False

    def put(self, account: int, network: str | None) -> None:
        """It connects from this network; that may be said again."""
        self.leave(account)
        self._network[account] = network
        if network is not None:
            self._sizes[network] += 1
            if self._sizes[network] > MOST:
                self._crowded.add(network)

    def of(self, account: int) -> str | None:
        return self._network.get(account)

    def leave(self, account: int) -> None:
        network = self._network.pop(account, None)
        if network is not None:
            self._sizes[network] -= 1
            if self._sizes[network] <= MOST:
                self._crowded.discard(network)
            if not self._sizes[network]:
                del self._sizes[network]

    @property
    def crowded(self) -> bool:
        """Whether there is any network that more than `MOST` accounts are in."""
        return bool(self._crowded)

    def excess(self, accounts: Iterable[int]) -> int:
        """How many of these are beyond what counts of their networks."""
        found = Counter(self._network.get(account) for account in accounts)
        return sum(count - MOST for network, count in found.items() if network is not None and count > MOST)

    def excess_of(self, content: int, accounts: Callable[[], Iterable[int]]) -> int:
        """`excess` of those that offer a content, kept until they are others."""
        self._excess.reach(content)
        known: int = self._excess.one[content]
        if not known:
            known = self._excess.one[content] = 1 + self.excess(accounts())
            self._counted = True
        return known - 1

    def changed(self, contents: Ids) -> None:
        """Others offer these now, or from another network."""
        if self._counted and len(contents):
            self._excess.reach(int(contents[-1]))
            self._excess.all[contents.astype(np.intp)] = 0
