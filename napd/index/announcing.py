"""A session's announces: validated, committed, made visible, acknowledged, in the order they came."""

from __future__ import annotations

from collections import deque

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ..errors import NapError, RemoteProtocolError
from ..wire import index as wire
from .intake import Passage
from .presence import Online
from .services import Services
from .session import Session
from .store.interface import Applied, OutOfStep, StaleSession, Step, TooManyListings

#: Steps under way in all, those of runs that have been given up among them.
MAX_PENDING = 4 * wire.ANNOUNCE_WINDOW


@frozen
class _Pending:
    """A step that the store has been asked for. `run` is the reset that it belongs to."""

    message: wire.Announce
    applied: Deferred[Applied]
    run: int
    passage: Passage


@define(eq=False)
class Announcing:
    """The writing side of one session's catalogue.

    Steps are handed to the store as they come, several at once, and their outcomes are dealt with one after the other.
    When one is out of step, so are those behind it: the peer is told once, and nothing that it sends before its next
    reset counts.
    """

    _services: Services
    _session: Session
    _online: Online
    _pending: deque[_Pending] = field(factory=deque)
    _working: bool = False
    _run: int = 0
    _broken_run: int = -1

    def take(self, message: wire.Announce) -> None:
        """:raises RemoteProtocolError: the step makes no sense, or there are too many under way."""
        _check(message)
        if message.reset:
            self._run += 1
        elif self._run == self._broken_run:
            return
        self._check_window()
        step = Step(
            account=self._online.account.number,
            session=self._online.session,
            epoch=message.epoch,
            base=message.base,
            revision=message.revision,
            add=message.add,
            withdraw=message.withdraw,
            reset=message.reset,
        )
        passage = self._services.intake.enter(len(message.add) + len(message.withdraw))
        applied = self._services.store.apply(step, self._services.limits.listings)
        self._pending.append(_Pending(message, applied, self._run, passage))
        if self._services.intake.is_full() and self._session.pause():
            self._services.intake.when_room(self._session.resume)
        if not self._working:
            self._working = True
            self._services.background.start("announce", self._deal_with_outcomes())

    def _check_window(self) -> None:
        """Steps of runs that a reset has ended do not count: their peer may not know yet what became of them."""
        under_way = sum(pending.run == self._run for pending in self._pending)
        if under_way >= wire.ANNOUNCE_WINDOW or len(self._pending) >= MAX_PENDING:
            raise RemoteProtocolError(f"over {wire.ANNOUNCE_WINDOW} announces without an acknowledgement", code="limit")

    async def _deal_with_outcomes(self) -> None:
        try:
            while self._pending:
                pending = self._pending[0]
                try:
                    await self._deal_with(pending)
                finally:
                    self._pending.popleft()
                    self._services.intake.leave(pending.passage)
        except CancelledError:
            # The index stops. What is committed is, and the peer will hear of it when it is back.
            raise
        except Exception:
            self._services.events.fault("announce", Failure())
            self._session.abort(NapError("a fault of the index", code="bug"))
        finally:
            self._working = False
            for given_up in self._pending:
                given_up.applied.addErrback(lambda _: None)
                self._services.intake.leave(given_up.passage)
            self._pending.clear()

    async def _deal_with(self, pending: _Pending) -> None:
        try:
            applied = await pending.applied
        except StaleSession as error:
            self._session.end("replaced", error.message)
        except OutOfStep as error:
            self._out_of_step(pending.run, error.message)
        except TooManyListings as error:
            self._too_many(pending.run, error)
        except NapError as error:
            self._services.events.fault("announce", Failure())
            self._session.end("shutdown", f"the index cannot store catalogues now: {error}")
        else:
            # Those who wish for something have to be told what was announced before.
            await self._services.wishing.room()
            await self._services.catalogues.publish(self._online, applied)
            self._published(pending, applied)

    def _published(self, pending: _Pending, applied: Applied) -> None:
        self._services.events.emit(
            "catalogue.announced",
            user=self._online.account.user,
            revision=applied.position.revision,
            added=len(applied.added),
            withdrawn=len(applied.withdrawn),
        )
        expected = pending.message.digest
        if expected is not None and expected != applied.position.digest:
            self._out_of_step(pending.run, "the catalogues have different digests")
        else:
            self._session.say(wire.Ack(applied.position.epoch, applied.position.revision))

    def _out_of_step(self, run: int, reason: str) -> None:
        if self._breaks(run):
            self._services.events.emit("catalogue.resync", user=self._online.account.user, error=reason)
            self._session.say(wire.Resync(reason[:256]))

    def _too_many(self, run: int, error: TooManyListings) -> None:
        if self._breaks(run):
            account = self._online.account
            self._services.events.emit("limit.hit", limit="index.listings", peer=account.key, user=account.user)
            self._session.say(wire.Error("limit", error.message))

    def _breaks(self, run: int) -> bool:
        """Whether this is news: the first failure of the newest run."""
        if run != self._run or run == self._broken_run:
            return False
        self._broken_run = run
        return True


def _check(message: wire.Announce) -> None:
    wrong = None
    if message.reset and message.base != 0:
        wrong = "a reset begins at base 0"
    elif message.revision < message.base or (message.revision == message.base and not message.reset):
        wrong = "the revision has to grow"
    elif any("\0" in member for audience in {entry.audience for entry in message.add} for member in audience):
        wrong = "an audience with a NUL in it"
    if wrong is not None:
        raise RemoteProtocolError(f"announce: {wrong}", code="out_of_bounds", fatal=False)
