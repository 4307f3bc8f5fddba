"""What a step means for a catalogue: the rules that every store follows, without any storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from attrs import frozen
from pyroaring import BitMap

from ...wire.catalogue import CatalogueDigest, Entry, entry_digest
from .interface import NOWHERE, OutOfStep, Position, StaleSession, Step, TooManyListings

T = TypeVar("T")


class Announced(Protocol):
    """A `Step`, in whatever form."""

    @property
    def session(self) -> int: ...

    @property
    def epoch(self) -> str: ...

    @property
    def base(self) -> int: ...

    @property
    def revision(self) -> int: ...

    @property
    def reset(self) -> bool: ...


@frozen
class Digested(Generic[T]):
    """A step's entries by their digests, each once."""

    add: Mapping[bytes, T]
    withdraw: Sequence[bytes]

    @classmethod
    def of(cls, step: Step) -> Digested[Entry]:
        add = {entry_digest(entry): entry for entry in step.add}
        return Digested.from_digests(add, map(entry_digest, step.withdraw))

    @classmethod
    def from_digests(cls, add: Mapping[bytes, T], withdraw: Iterable[bytes]) -> Digested[T]:
        # Withdrawals come first, so what is added in the same step stays.
        return cls(add, sorted(set(withdraw) - add.keys()))

    def all(self) -> Sequence[bytes]:
        return [*self.add, *self.withdraw]


@frozen
class Plan(Generic[T]):
    """What to do to a catalogue.

    :param added: known items that it gets; `new` are those that have to be made first.
    :param withdrawn: items that it loses.
    """

    added: BitMap
    withdrawn: BitMap
    new: Mapping[bytes, T]
    position: Position


def check_session(session: int, newest: int) -> None:
    """:raises StaleSession:"""
    if session != newest:
        raise StaleSession(f"session {session} has been replaced by {newest}")


def check_step(step: Announced, session: int, position: Position) -> None:
    """Whether the step may be applied where the catalogue stands.

    :raises StaleSession: OutOfStep:
    """
    check_session(step.session, session)
    if step.reset:
        return
    if step.epoch != position.epoch:
        raise OutOfStep("the catalogue is of another epoch")
    if step.base != position.revision:
        raise OutOfStep(f"the catalogue is at revision {position.revision}, not {step.base}")


def plan(
    step: Announced, digested: Digested[T], ids: Mapping[bytes, int], share: BitMap, position: Position, most: int
) -> Plan[T]:
    """
    :param ids: of those entries that are known as items.
    :param share: what the catalogue holds now.
    :raises TooManyListings: if it would hold more than `most`.
    """
    wanted = BitMap([ids[digest] for digest in digested.add if digest in ids])
    new = {digest: entry for digest, entry in digested.add.items() if digest not in ids}
    added = wanted - share
    if step.reset:
        withdrawn = share - wanted
        running = CatalogueDigest()
        running.add_all(digested.add)
    else:
        withdrawn = BitMap([ids[digest] for digest in digested.withdraw if digest in ids]) & share
        running = CatalogueDigest(position.digest)
        running.add_all(new)
        running.add_all(digest for digest in digested.add if digest in ids and ids[digest] in added)
        running.remove_all(digest for digest in digested.withdraw if digest in ids and ids[digest] in withdrawn)
    listings = len(share) - len(withdrawn) + len(added) + len(new)
    if listings > most:
        raise TooManyListings(f"a catalogue may have {most} listings, this would be {listings}")
    return Plan(added, withdrawn, new, Position(step.epoch, step.revision, running.hex()))


def meet(stored: Position, held: Position) -> Position:
    """Where a catalogue stands once its peer has come and said what it holds.

    The same digest is the same set, however it was counted. A peer that is further on in the same epoch goes on from
    what is stored. Any other has to send the full list, and until then nothing of the old one is true.
    """
    if stored.digest == held.digest:
        return held
    if stored.epoch == held.epoch and stored.revision < held.revision:
        return stored
    return NOWHERE
