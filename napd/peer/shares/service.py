"""The shares of a peer: what may be asked of them. On the reactor's thread, except for what it hands to others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall

from ...background import Background
from ...discovery.interface import CataloguePosition, CatalogueStep
from ...errors import Denied, Misuse, NapError, NoSuchThing, printable
from ...model import EVERYONE, ContentId
from ...ops.database import open_database
from ...ops.events import Events
from ...ops.threads import Pool, Worker
from ...wire import documents
from .books import Books
from .checking import check
from .describing import Describer
from .guard import Guard, check_name, default_name, normal
from .hasher import LARGE, SMALL, Hasher
from .hashing import Changed, Failed, Work
from .ledger import Ledger
from .reader import Reader, Shared
from .records import ShareCounts, ShareRecord
from .schema import SCHEMA
from .share import Share
from .surroundings import Surroundings
from .watching import Watcher

DATABASE_NAME = "shares.sqlite"
#: Threads that look at directories: a disk that does not answer takes one.
WALKERS = 4
#: Small files hashed before they are entered, so that they are announced as they come; a large one goes by parts.
SMALL_BATCH = 256
#: Chunks that a hashing thread and its helpers read at a time, where there are so many cores: beyond, disks are slower.
MAX_STRANDS = 4
#: Seconds that changes of the catalogue are gathered before they are announced.
TELL_S = 0.05
#: Seconds between two complaints that the books cannot be written.
TROUBLE_S = 60.0
#: Skipped files named in a row of `share list`.
MAX_SKIPPED_ROWS = 100


@define
class _Running:
    share: Share
    done: Deferred[None]


class Shares:
    """Directories that are offered under a name; a `discovery.interface.CatalogueFeed`.

    :param state: the state directory, for `shares.sqlite`; opened at once.
    :param now: seconds since 1970, as files are stamped.
    :param rng: for the catalogue's epoch and for jitter.
    :param forbidden: directories of which nothing may be shared, the state directory first of all.
    :param rescan_s: seconds between two passes through a share that should find nothing new.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        state: Path,
        events: Events,
        background: Background,
        now: Callable[[], float],
        rng: Random,
        forbidden: Sequence[Path],
        rescan_s: float = 900.0,
    ) -> None:
        self._reactor = reactor
        self._events = events
        self._background = background
        ledger = Ledger(open_database(state / DATABASE_NAME, SCHEMA, events=events), rng)
        self._reader = Reader(state / DATABASE_NAME)
        self._books = Books(Worker(reactor, "shares-books"), ledger, self._books_changed)
        self._walkers = Pool(reactor, "shares-walk", WALKERS)
        self._hash_threads = [Worker(reactor, "hash-small"), Worker(reactor, "hash-large")]
        self._hashers = [
            Hasher(
                clock=reactor,
                now=now,
                worker=thread,
                books=self._books,
                sizes=sizes,
                batch=batch,
                strands=min(MAX_STRANDS, len(os.sched_getaffinity(0))),
                heard=self._not_hashed,
                unreadable=self._unreadable,
                trouble=self._trouble,
            )
            for thread, sizes, batch in zip(self._hash_threads, (SMALL, LARGE), (SMALL_BATCH, 1), strict=True)
        ]
        self._describer = Describer(
            clock=reactor,
            worker=self._hash_threads[0],
            books=self._books,
            unreadable=self._unreadable,
            trouble=self._trouble,
        )
        self._watcher = Watcher()
        self._around = Surroundings(
            clock=reactor,
            threads=reactor,
            now=now,
            rng=rng,
            events=events,
            books=self._books,
            pool=self._walkers,
            guard=Guard([os.fsencode(path) for path in forbidden], os.environ),
            watcher=self._watcher,
            rescan_s=rescan_s,
            work_waits=self._wake_hashers,
            trouble=self._trouble,
        )
        self._shares: dict[str, _Running] = {}
        self._hashing: list[Deferred[None]] = []
        self._changing = DeferredLock()
        self._listeners: list[Callable[[], None]] = []
        self._told = ledger.snapshot.position.revision
        self._telling: IDelayedCall | None = None
        self._trouble_told = float("-inf")

    def start(self) -> None:
        """Begin to watch, to go through the directories that are remembered, and to hash."""
        try:
            self._watcher.start()
        except OSError:
            pass  # each share finds out when it asks for a watch, and says so
        for record in self._books.ledger.shares():
            if record.directory:
                self._begin(record)
        for hasher in self._hashers:
            self._hashing.append(self._background.start("hashing", hasher.run()))
        self._hashing.append(self._background.start("describing", self._describer.run()))
        self._background.start("clearing out shares", self._clear_out())

    async def stop(self) -> None:
        """What is being read is left, what was read is kept."""
        for hasher in self._hashers:
            hasher.stop()
        self._describer.stop()
        for running in self._shares.values():
            running.share.end()
        for running in list(self._shares.values()):
            await running.done
        for done in self._hashing:
            await done
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        await self._walkers.run(self._watcher.stop)
        await self._walkers.stop()
        for thread in self._hash_threads:
            await thread.stop()
        await self._books.close()
        self._reader.close()

    # --- Shares ----------------------------------------------------------------------------------

    async def add(self, directory: Path, name: str | None, audience: tuple[str, ...]) -> documents.ShareRow:
        """Offer a directory, from now on and for good. One that is offered already is no change.

        A symbolic link is resolved now; what is shared is where it leads.

        :raises Misuse: no directory, a bad name, one that is taken. :raises NoSuchThing: it does not exist.
        :raises Denied: it must not be shared (code ``refused``).
        """
        if audience not in ((), (EVERYONE,)):
            raise Misuse("a share for some people only is not in this version", f"Leave it open to {EVERYONE}")
        await self._changing.acquire()
        try:
            given = normal(os.fsencode(directory))
            for running in self._shares.values():
                # Before a look at the disk: it may be missing just now.
                if running.share.directory == given:
                    return self._row(running.share)
            try:
                real = await self._walkers.run(self._around.guard.admit, given)
            except Denied as error:
                self._events.emit(
                    "share.refused", error.message, share=name, directory=_text(given), error=error.message
                )
                raise
            for running in self._shares.values():
                if running.share.directory == real:
                    return self._row(running.share)
            name = default_name(real) if name is None else check_name(name)
            if name in self._shares:
                shown = _text(self._shares[name].share.directory)
                raise Misuse(
                    f"there is a share called {name!r} already, of {shown}",
                    f"Choose another name with =NAME: {_text(given)}=NAME",
                )
            ledger = self._books.ledger
            share = self._begin(await self._books.run(ledger.add_share, name, real, (EVERYONE,)))
            self._events.emit("share.added", f"{name} is offered: {_text(real)}.", share=name, directory=_text(real))
            return self._row(share)
        finally:
            self._changing.release()

    async def remove(self, name: str) -> None:
        """Offer it no more; its files stay where they are. :raises NoSuchThing: no share is called so."""
        await self._changing.acquire()
        try:
            running = self._named(name)
            running.share.end()
            await running.done
            await self._books.run(self._books.ledger.leave, running.share.id)
            del self._shares[name]
            await self._clear_out()
            self._events.emit("share.removed", share=name)
        finally:
            self._changing.release()

    async def rescan(self, name: str | None) -> None:
        """Go through it (None: all of them). Hashing what is new goes on afterwards.

        :raises NoSuchThing: no share is called so.
        """
        chosen = list(self._shares.values()) if name is None else [self._named(name)]
        for done in [running.share.rescan() for running in chosen]:
            await done

    def rows(self) -> list[documents.ShareRow]:
        """In the order in which they were added."""
        return [self._row(running.share) for running in self._shares.values()]

    def totals(self) -> documents.ShareTotals:
        counts = [self._counts(running.share) for running in self._shares.values()]
        return documents.ShareTotals(
            listings=sum(c.listings for c in counts),
            bytes=sum(c.bytes for c in counts),
            hashing=sum(c.waiting for c in counts),
        )

    async def check(self, path: str) -> documents.CheckDocument:
        """Whether others can get what is at this path. :raises Misuse: it is not absolute."""
        shares = [running.share for running in self._shares.values()]
        return await check(path, shares, self._walkers, self._around.guard, self._reader)

    # --- For uploads -----------------------------------------------------------------------------

    def find(self, content: ContentId) -> Sequence[Shared]:
        """Listings of a content (of thousands, some of each share); none if it is not shared."""
        return self._reader.find(content, [running.share.id for running in self._shares.values()])

    async def outline(self, content: ContentId) -> tuple[int, bytes]:
        """Size and joined group digests. :raises LookupError: if it is not shared."""
        return await self._books.run(self._books.ledger.outline, content)

    async def group(self, content: ContentId, group: int) -> bytes:
        """Joined chunk digests of one group. :raises LookupError: if it is not shared, or has no such group."""
        return await self._books.run(self._books.ledger.group, content, group)

    # --- For discovery ---------------------------------------------------------------------------

    def position(self) -> CataloguePosition:
        return self._books.ledger.snapshot.position

    def step(self, after: int, limit_bytes: int) -> CatalogueStep | None:
        return self._reader.step(after, limit_bytes)

    def on_change(self, heard: Callable[[], None]) -> None:
        self._listeners.append(heard)

    # --- Within ----------------------------------------------------------------------------------

    def _begin(self, record: ShareRecord) -> Share:
        share = Share(record, self._around)
        self._shares[record.name] = _Running(share, self._background.start(f"share {record.name}", share.run()))
        return share

    async def _clear_out(self) -> None:
        """Take away what forgotten shares list."""
        ledger = self._books.ledger
        for share in await self._books.run(ledger.left):
            while await self._books.run(ledger.clear_out, share, self._around.now()):
                pass

    def _named(self, name: str) -> _Running:
        try:
            return self._shares[name]
        except KeyError:
            known = ", ".join(self._shares) or "none"
            raise NoSuchThing(f"no share is called {printable(name)!r}", f"There are: {printable(known)}") from None

    def _row(self, share: Share) -> documents.ShareRow:
        counts = self._counts(share)
        failed, failures = self._reader.failed(share.id, MAX_SKIPPED_ROWS)
        skipped = [*((path, f"unreadable: {reason}") for path, reason in failed), *share.skips]
        return documents.ShareRow(
            name=share.name,
            directory=_text(share.directory),
            audience=list(share.audience),
            listings=counts.listings,
            bytes=counts.bytes,
            hashing=counts.waiting,
            state=share.state.value,
            skipped=[documents.Skipped(_text(path), reason) for path, reason in skipped[:MAX_SKIPPED_ROWS]],
            skipped_count=failures + len(share.skips),
        )

    def _counts(self, share: Share) -> ShareCounts:
        return self._books.ledger.snapshot.shares.get(share.id, ShareCounts(0, 0, 0))

    def _not_hashed(self, outcome: Changed | Failed) -> None:
        for running in self._shares.values():
            if running.share.id == outcome.work.share:
                if isinstance(outcome, Failed):
                    running.share.failed(outcome.work.path, outcome.reason)
                else:
                    running.share.look_again(outcome.work.path)

    def _unreadable(self, work: Work, reason: str) -> None:
        for running in self._shares.values():
            if running.share.id == work.share:
                running.share.unreadable(work.path, reason)

    def _wake_hashers(self) -> None:
        for hasher in self._hashers:
            hasher.wake()

    def _trouble(self, error: NapError) -> None:
        now = self._reactor.seconds()
        if now - self._trouble_told >= TROUBLE_S:
            self._trouble_told = now
            self._events.emit("share.stalled", error.message, error=error.message)

    def _books_changed(self) -> None:
        behind = self._books.ledger.snapshot.position.revision != self._told
        if behind and (self._telling is None or not self._telling.active()):
            self._telling = self._reactor.callLater(TELL_S, self._tell)

    def _tell(self) -> None:
        self._told = self._books.ledger.snapshot.position.revision
        for heard in list(self._listeners):
            heard()


def _text(path: bytes) -> str:
    return path.decode(errors="replace")
