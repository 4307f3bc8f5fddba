"""Who has parts of which content and serves them while it fetches the rest: in memory, as long as a session lasts.

A content is *open* while somebody online offers it to everyone, and on from then as long as anybody still has parts of
it, unless the last who offered it took it back. Only of open contents anything is told.
"""

from __future__ import annotations

from binascii import crc32
from bisect import bisect, insort
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from attrs import define, field

from ..wire import index as wire
from .store.interface import Account
from .watched import Watched


@define(eq=False)
class _Swarm:
    """Those who have parts of one content: (place on a ring, account), sorted."""

    open: bool
    ring: list[tuple[int, int]] = field(factory=list)


class Swarms:
    """Contents are named by their ids: peers may come back before the one who offers theirs has.

    :param offered: whether anybody online offers a content to everyone.
    """

    def __init__(self, offered: Callable[[str], bool]) -> None:
        self._offered = offered
        self._swarms: dict[str, _Swarm] = {}
        #: The contents that have a swarm.
        self.watched = Watched()
        self._contents: dict[int, set[str]] = {}
        #: Told of accounts that have parts of what has become open, or is so no more.
        self.turned: Callable[[Collection[int]], None] = lambda accounts: None

    def __bool__(self) -> bool:
        return bool(self._swarms)

    # --- Coming and going ------------------------------------------------------------------------

    def join(self, account: Account, contents: Iterable[str]) -> tuple[list[str], int]:
        """The account has parts of these; returns those that are news, and how many were too many."""
        mine = self._contents.setdefault(account.number, set())
        new = [content for content in dict.fromkeys(contents) if content not in mine]
        taken = new[: wire.MAX_PARTIALS - len(mine)]
        for content in taken:
            mine.add(content)
            swarm = self._swarms.get(content)
            if swarm is None:
                swarm = self._swarms[content] = _Swarm(self._offered(content))
                self.watched.add(content)
            insort(swarm.ring, _place(account))
        if not mine:
            del self._contents[account.number]
        return taken, len(new) - len(taken)

    def drop(self, account: Account, contents: Iterable[str]) -> list[str]:
        """The account serves parts of these no more; returns those that it did until now."""
        mine = self._contents.get(account.number, set())
        dropped = [content for content in dict.fromkeys(contents) if content in mine]
        for content in dropped:
            mine.discard(content)
            swarm = self._swarms[content]
            swarm.ring.remove(_place(account))
            if not swarm.ring:
                del self._swarms[content]
                self.watched.discard(content)
        if not mine:
            self._contents.pop(account.number, None)
        return dropped

    def put(self, account: Account, parts: Mapping[str, bool]) -> set[str]:
        """All that an account elsewhere has parts of, and whether each is open there; returns those that changed.

        Here a content may be known as open from before; it is not once the others know that it was taken back.
        """
        changed = {*self.drop(account, set(self.of(account)) - parts.keys())}
        for content, is_open in parts.items():
            is_new = content not in self._swarms
            changed.update(self.join(account, (content,))[0])
            swarm = self._swarms.get(content)
            if swarm is not None and swarm.open != is_open and (is_new or not is_open):
                swarm.open = is_open or self._offered(content)
                changed.add(content)
        return changed

    def of(self, account: Account) -> Collection[str]:
        """What the account has parts of."""
        return self._contents.get(account.number, ())

    def offered(self, contents: Iterable[str]) -> None:
        """Somebody offers these to everyone."""
        self._turn(contents, to_open=True)

    def withdrawn(self, contents: Iterable[str]) -> None:
        """The last who offered these to everyone took them back."""
        self._turn(contents, to_open=False)

    def _turn(self, contents: Iterable[str], *, to_open: bool) -> None:
        swarms = [self._swarms[content] for content in contents if content in self._swarms]
        turned = [swarm for swarm in swarms if swarm.open != to_open]
        for swarm in turned:
            swarm.open = to_open
        if turned:
            self.turned({account for swarm in turned for _, account in swarm.ring})

    # --- Looking ---------------------------------------------------------------------------------

    def is_open(self, content: str) -> bool:
        """Whether who fetches it may serve it on to anybody."""
        swarm = self._swarms.get(content)
        return self._offered(content) if swarm is None else swarm.open

    def told(self, content: str, asker: str) -> Sequence[int]:
        """Accounts that this asker (a peer id) is told of, itself perhaps among them: a part of a crowd.

        From so many points on the ring the next one each: another part for each asker, that hardly changes as others
        come and go, for the price of that part, however large the crowd is.
        """
        swarm = self._swarms.get(content)
        if swarm is None or not swarm.open:
            return ()
        ring = swarm.ring
        if len(ring) <= wire.MAX_PARTIAL_TOLD:
            return [account for _, account in ring]
        points = (crc32(f"{asker} {content} {n}".encode()) for n in range(wire.MAX_PARTIAL_TOLD))
        return list({ring[bisect(ring, (point, 0)) % len(ring)][1]: None for point in points})


def _place(account: Account) -> tuple[int, int]:
    return crc32(account.key.encode()), account.number
