"""Proof of addresses: the index dials a peer itself, and publishes only where the peer's own key answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..background import Background
from ..errors import NapError, Unreachable
from ..model import PeerId
from ..net.dial import Dialler
from ..net.identity import PublicKey
from ..net.link import SecureLink
from ..wire.peer import ALPN
from .dial_turns import DialTurns

#: Dials under way at once, over all peers.
MAX_DIALS = 32
#: Seconds between attempts while an address is not proven: doubled each time up to the second figure.
RETRY_S = 5.0
MAX_RETRY_S = 600.0
#: Seconds after which a proven address is looked at again.
RECHECK_S = 1800.0
#: A proven address is given up after so many failures in a row: one may be a hiccup.
FAILURES = 2

Report = Callable[[tuple[str, ...]], None]


@define(eq=False)
class Proof:
    """What is known of one peer's candidates. `stop` when its session ends."""

    peer: PeerId
    candidates: Sequence[str]
    _report: Report
    _proven: dict[str, bool] = field(factory=dict)
    _told: tuple[str, ...] | None = None
    _work: list[Deferred[None]] = field(factory=list)

    def found(self, address: str, *, reached: bool) -> None:
        self._proven[address] = reached
        proven = tuple(candidate for candidate in self.candidates if self._proven.get(candidate))
        # The first word is a good one, or that nothing at all was reached.
        if proven != self._told and (proven or len(self._proven) == len(self.candidates)):
            self._told = proven
            self._report(proven)

    def is_proven(self, address: str) -> bool:
        return self._proven.get(address, False)

    def goes_on_by(self, work: Deferred[None]) -> None:
        self._work.append(work)

    def stop(self) -> None:
        work, self._work = self._work, []
        for running in work:
            running.cancel()


class Dialback:
    """:param random: jitter."""

    def __init__(self, clock: IReactorTime, dialler: Dialler, background: Background, random: Random) -> None:
        self._clock = clock
        self._dialler = dialler
        self._background = background
        self._random = random
        self._turns = DialTurns(MAX_DIALS)

    def prove(self, peer: PeerId, candidates: Sequence[str], report: Report) -> Proof:
        """Look for this peer at all its candidates until the proof is stopped; report what is proven as it changes."""
        proof = Proof(peer, candidates, report)
        if not candidates:
            report(())
        for address in candidates:
            proof.goes_on_by(self._background.start(f"dialback {address}", self._keep_proving(proof, address)))
        return proof

    async def _keep_proving(self, proof: Proof, address: str) -> None:
        failures = 0
        while True:
            if await self._reaches(address, proof.peer):
                failures = 0
                wait_s = RECHECK_S
                proof.found(address, reached=True)
            else:
                failures += 1
                wait_s = min(MAX_RETRY_S, RETRY_S * 2 ** min(failures - 1, 20))
                if failures >= FAILURES or not proof.is_proven(address):
                    proof.found(address, reached=False)
            await deferLater(self._clock, wait_s * self._random.uniform(0.75, 1.25))

    async def _reaches(self, address: str, peer: PeerId) -> bool:
        """Whether this peer's key answers there. Dialling, the handshake and the good end have their own limits."""
        await self._turns.begin(peer)
        knock = _Knock(self._clock, peer)
        try:
            await self._dialler.dial(address, ALPN, knock.build)
            await knock.gone
        except NapError:
            return False
        finally:
            knock.end()
            self._turns.end(peer)
        return knock.answered


class _Knock:
    """The user of one link that is closed as soon as the key behind it is known.

    :ivar answered: the key was the right one.
    :ivar gone: fires when the link is lost.
    """

    def __init__(self, clock: IReactorTime, peer: PeerId) -> None:
        self._clock = clock
        self._peer = peer
        self._link: SecureLink | None = None
        self.answered = False
        self.gone: Deferred[None] = Deferred()

    def build(self) -> SecureLink:
        self._link = SecureLink(self._clock, self, ALPN, self._peer)
        return self._link

    def end(self) -> None:
        """Cut the link if it is still there."""
        if self._link is not None:
            self._link.abort(Unreachable("the dial-back was given up"))

    def link_secured(self, key: PublicKey) -> None:
        self.answered = True
        if self._link is not None:
            self._link.hang_up()

    def line_heard(self, line: bytes) -> None:
        """What the peer says does not matter."""

    def raw_heard(self, data: bytes | memoryview) -> None:
        """Never announced."""

    def link_lost(self, reason: NapError) -> None:
        self._link = None
        self.gone.callback(None)
