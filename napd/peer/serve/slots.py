"""Upload slots: who is served now, and whose turn is next. Pure; the caller brings the time.

Users take turns (docs/explanation/uploads.md). Each has an account of the turns it has had, less for short ones, over
its weight: the lowest is next. Who has just come is put level with the lowest, and comes behind it only if that one was
waiting first. Within a user the holder (a connection) with the most urgent request comes first, then the one that has
waited longest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field, frozen

#: Compared by identity or value, as the holders see fit; only has to be hashable.
H = TypeVar("H")

#: What a turn is over after, if others wait: a 50 GiB file keeps nobody waiting longer than a file of this size.
TURN_BYTES = 64 << 20
TURN_S = 10.0
#: A turn of so many bytes or seconds costs as much as any longer one; a shorter one its part of that, but not less
#: than the last figure. So small files count by what they are, and big ones by the turn.
WHOLE_TURN_BYTES = 1 << 20
WHOLE_TURN_S = 1.0
LEAST_CHARGE = 1 / 64
#: How much the newest turn counts in the average length of turns, once there are enough.
_NEWEST = 0.125
#: Users that are gone whose accounts are kept: who comes back at once is not new.
MAX_REMEMBERED = 100

#: In a user's line: rank (0 is the most urgent), age (the lower the older), who.
_Wait = tuple[int, int, H]


@define(eq=False)
class _User(Generic[H]):
    """`had`: turns. `since`: the age of its claim to the next turn. `fresh`: put level when it is served."""

    name: str
    weight: float
    had: float = 0.0
    since: int = 0
    fresh: bool = True
    line: list[_Wait[H]] = field(factory=list)
    held: int = 0

    @property
    def account(self) -> float:
        """A turn that is under way counts as a whole one until it is over."""
        return (self.had + self.held) / self.weight

    @property
    def settled(self) -> float:
        """Of turns that are over."""
        return self.had / self.weight

    def level(self, account: float) -> None:
        self.had = account * self.weight - self.held


@define(eq=False)
class _Turn(Generic[H]):
    user: _User[H]
    began: float
    bytes: int = 0


@frozen
class Waiting(Generic[H]):
    """One user: its connections that wait, in the order of their turns, and those that have a slot."""

    user: str
    weight: float
    holders: Sequence[H]
    served: Sequence[H] = ()


@define
class Slots(Generic[H]):
    """At most `limit` holders at a time. After every change call `grant`: then no slot is free while somebody waits."""

    limit: int
    _turns: dict[H, _Turn[H]] = field(factory=dict)
    _waits: dict[H, tuple[_User[H], _Wait[H]]] = field(factory=dict)
    _users: dict[str, _User[H]] = field(factory=dict)
    _age: int = 0
    _contended_since: float | None = None
    _turn_s: float | None = None
    _measured: int = 0

    @property
    def contended(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waits)

    @property
    def turn_s(self) -> float | None:
        """How long a turn has taken of late, when others waited; None until one has."""
        return self._turn_s

    def holders(self) -> list[H]:
        return list(self._turns)

    def holds(self, holder: H) -> bool:
        return holder in self._turns

    def ask(self, holder: H, user: str, weight: float, rank: int, now: float) -> None:
        """The holder waits from now on. If it has a slot, its turn is over, and it waits for another.

        One that waits already keeps its age.
        """
        known = self._users.get(user)
        if known is None:
            known = self._users[user] = _User(user, weight)
        known.weight = weight
        passes = self._end_turn(holder, now)
        self._age += 1
        if not known.line:
            if not passes and not known.held:
                # In debt it is not new, however long it was away; otherwise it begins level with the others.
                known.fresh = known.account <= self._lowest()
            known.since = self._age
        before = self._waits.get(holder)
        if before is not None:
            self._leave_line(*before)
        wait = (rank, self._age if before is None else before[1][1], holder)
        insort(known.line, wait, key=_rank_and_age)
        self._waits[holder] = known, wait
        self._look(now)

    def give_back(self, holder: H, now: float) -> None:
        """The holder needs its slot no more, or waits no more."""
        waited = self._waits.pop(holder, None)
        if waited is not None:
            self._leave_line(*waited)
        self._end_turn(holder, now)
        self._forget_idle()
        self._look(now)

    def grant(self, now: float) -> list[H]:
        """Hand free slots to those whose turn it is; returns who got one."""
        granted: list[H] = []
        while self._waits and len(self._turns) < self.limit:
            user = self._next_user()
            _, _, holder = user.line.pop(0)
            del self._waits[holder]
            user.held += 1
            self._age += 1
            user.since = self._age
            self._turns[holder] = _Turn(user, now)
            granted.append(holder)
        self._look(now)
        return granted

    def sent(self, holder: H, size: int) -> None:
        """So many bytes of its turn are used."""
        turn = self._turns.get(holder)
        if turn is not None:
            turn.bytes += size

    def must_pass(self, holder: H, rank: int, now: float, *, another: bool) -> bool:
        """Whether the holder has to give its slot back and ask again.

        :param rank: of what it would send next. :param another: that is another file than before.
        """
        turn = self._turns.get(holder)
        if turn is None or len(self._turns) > self.limit:
            return True
        if not self._waits:
            return False
        if another or turn.bytes >= TURN_BYTES or now - turn.began >= TURN_S:
            return True
        return bool(turn.user.line) and turn.user.line[0][0] < rank

    def share(self, holder: H) -> float:
        """The part of all that is sent now which is due to this holder: by weight for users, equal within one."""
        turn = self._turns.get(holder)
        if turn is None:
            return 0.0
        users = {turn.user.name: turn.user.weight for turn in self._turns.values()}
        return turn.user.weight / sum(users.values()) / turn.user.held

    def in_turn(self) -> list[Waiting[H]]:
        """The users that wait, in the order of their next turns; then those that have slots, and do not wait now."""
        waiting = [user for user in self._users.values() if user.line]
        old = sorted((user for user in waiting if not user.fresh), key=_by_account)
        fresh = deque(sorted((user for user in waiting if user.fresh), key=lambda user: user.since))
        order = []
        for user in old:
            while fresh and fresh[0].since < user.since:
                order.append(fresh.popleft())
            order.append(user)
        order += fresh
        order += [user for user in self._users.values() if user.held and not user.line]
        served: dict[str, list[H]] = {}
        for holder, turn in self._turns.items():
            served.setdefault(turn.user.name, []).append(holder)
        return [
            Waiting(user.name, user.weight, [wait[2] for wait in user.line], served.get(user.name, ()))
            for user in order
        ]

    # --- Inside ----------------------------------------------------------------------------------

    def _end_turn(self, holder: H, now: float) -> bool:
        """Charge its user for what was used; False if there is no such turn."""
        turn = self._turns.pop(holder, None)
        if turn is None:
            return False
        charge = max(turn.bytes / WHOLE_TURN_BYTES, (now - turn.began) / WHOLE_TURN_S, LEAST_CHARGE)
        turn.user.had += min(1.0, charge)
        turn.user.held -= 1
        if self._contended_since is not None:
            self._measure(now - max(turn.began, self._contended_since))
        return True

    def _next_user(self) -> _User[H]:
        """Called only while somebody waits."""
        waiting = [user for user in self._users.values() if user.line]
        first = min((user for user in waiting if user.fresh), key=lambda user: user.since, default=None)
        lowest = min((user for user in waiting if not user.fresh), key=_by_account, default=None)
        if first is None or (lowest is not None and lowest.since < first.since):
            assert lowest is not None  # somebody waits
            self._limit_lag(lowest, waiting)
            return lowest
        first.fresh = False
        level = self._lowest() if lowest is None else lowest.account
        # A turn under way that weighs much may be over at once: nobody begins further behind than its own turns go.
        most = self._lowest_settled() + max(1, self.limit) / first.weight
        first.level(max(first.account, min(level, most)))
        return first

    def _limit_lag(self, user: _User[H], waiting: list[_User[H]]) -> None:
        """Who was content with little for long cannot have all of it at once later."""
        others = (other for other in waiting if other is not user and not other.fresh)
        second = min(others, key=_by_account, default=None)
        if second is not None:
            most = (1 / user.weight + 1 / second.weight) * max(1, self.limit)
            user.level(max(user.account, second.account - most))

    def _lowest(self) -> float:
        """Of the accounts of those who have a slot or wait."""
        active = (user.account for user in self._users.values() if not user.fresh and (user.line or user.held))
        return min(active, default=0.0)

    def _lowest_settled(self) -> float:
        active = (user.settled for user in self._users.values() if not user.fresh and (user.line or user.held))
        return min(active, default=0.0)

    def _forget_idle(self) -> None:
        """Accounts matter only while somebody is there to compare them with."""
        if not self._turns and not self._waits:
            self._users.clear()
        elif len(self._users) > len(self._turns) + len(self._waits) + MAX_REMEMBERED:
            idle = [user for user in self._users.values() if not user.line and not user.held]
            for user in sorted(idle, key=_by_account)[: MAX_REMEMBERED // 2]:
                del self._users[user.name]

    def _leave_line(self, user: _User[H], wait: _Wait[H]) -> None:
        del user.line[bisect_left(user.line, wait[:2], key=_rank_and_age)]

    def _look(self, now: float) -> None:
        if not self._waits:
            self._contended_since = None
        elif self._contended_since is None:
            self._contended_since = now

    def _measure(self, seconds: float) -> None:
        self._measured += 1
        before = self._turn_s or 0.0
        self._turn_s = before + max(_NEWEST, 1 / self._measured) * (seconds - before)


def _rank_and_age(wait: _Wait[H]) -> tuple[int, int]:
    return wait[:2]


def _by_account(user: _User[H]) -> tuple[float, int]:
    return user.account, user.since
