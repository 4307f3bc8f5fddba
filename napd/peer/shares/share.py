"""One shared directory at work: gone through, followed as it changes, gone and back again. On the reactor's thread.

Everything about one share happens in one coroutine, in turns: looks at what has just changed come first, a part of a
walk after each, so neither waits for the other. The disk is asked in threads, the books on theirs, and what was seen
is entered in the order in which it was seen.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from ...errors import NapError, printable
from .bell import Bell
from .records import Cursor, ShareRecord
from .skips import Skips
from .surroundings import Surroundings
from .walk import Bitmap, Part, Root, Walk, look_at, look_at_root
from .watching import ShareWatch

#: Seconds between looks whether the directory is there.
ROOT_S = 2.0
#: Seconds between two passes where live changes cannot be seen.
FREQUENT_S = 60.0
#: Seconds that changes are gathered before they are looked at.
GATHER_S = 0.05
#: Seconds before the next try when the books cannot be written.
RETRY_S = 5.0
#: Walks of single folders that may wait; beyond, the whole share is gone through.
MAX_FOLDERS = 200
#: Files that could not be read, and as many recordings whose headers could not, said aloud for each pass; `share list`
#: shows the other files too.
MAX_FAILURES_TOLD = 10


class ShareState(StrEnum):
    """The words of `share list`."""

    OK = "ok"
    SCANNING = "scanning"
    UNAVAILABLE = "unavailable"


@define
class _Pass:
    """A walk through the whole share. `asked`: somebody waits for it, or it is the first."""

    walk: Walk
    started: float
    revision: int
    asked: bool
    waiters: list[Deferred[None]]
    skips: Skips = field(factory=Skips)


class Share:
    def __init__(self, record: ShareRecord, surroundings: Surroundings) -> None:
        self.id = record.id
        self.name = record.name
        self.directory = record.directory
        self.audience = record.audience
        self.state = ShareState.SCANNING
        self.trouble: str | None = None
        self.skips = Skips()
        self._around = surroundings
        self._device = record.device
        self._bell = Bell(surroundings.clock)
        self._watch = ShareWatch(surroundings.watcher, record.directory, self._heard)
        self._watch_error: str | None = None
        self._watch_failed = False
        self._pass: _Pass | None = None
        self._folders: deque[Walk] = deque()
        self._again: dict[bytes, bool] = {}
        self._waiters: list[Deferred[None]] = []
        self._wanted = True
        self._asked = True
        self._root: Root | None = None
        self._root_due = 0.0
        self._pass_due = 0.0
        self._failures_told = 0
        self._unreadable_told = 0
        self._withdrawn = False
        self._gathering: IDelayedCall | None = None
        self._ending = False

    # --- Asked from outside ----------------------------------------------------------------------

    def rescan(self) -> Deferred[None]:
        """Fires when a pass that begins after this call is through, or the directory is missing."""
        done: Deferred[None] = Deferred()
        self._waiters.append(done)
        self._wanted = self._asked = True
        self._root_due = 0.0
        self._bell.ring()
        return done

    def look_again(self, path: bytes) -> None:
        """Something about this file is not as the books say."""
        self._again[path] = False
        self._bell.ring()

    def failed(self, path: bytes, reason: str) -> None:
        """A file could not be read."""
        if self._failures_told < MAX_FAILURES_TOLD:
            self._failures_told += 1
            said = f"{printable(path.decode(errors='replace'))}: {reason}"
            self._around.events.emit("share.file_failed", f"In {self.name}: {said}", share=self.name, error=said)

    def unreadable(self, path: bytes, reason: str) -> None:
        """A recording is shared without what its headers should say."""
        if self._unreadable_told < MAX_FAILURES_TOLD:
            self._unreadable_told += 1
            said = f"{printable(path.decode(errors='replace'))}: {printable(reason)}"
            message = f"In {self.name}: nothing is told of {said}"
            self._around.events.emit("share.media_unreadable", message, share=self.name, error=said)

    def end(self) -> None:
        """Let `run` end soon."""
        self._ending = True
        self._bell.ring()

    async def run(self) -> None:
        try:
            while not self._ending:
                try:
                    await self._turn()
                except NapError as error:
                    self._around.trouble(error)
                    await self._give_up_walks()
                    self._wanted = True
                    await self._bell.wait(RETRY_S)
        finally:
            self._release()
            self._watch.drop(b"")
            if self._gathering is not None and self._gathering.active():
                self._gathering.cancel()
        await self._give_up_walks()

    # --- One turn --------------------------------------------------------------------------------

    async def _turn(self) -> None:
        clock = self._around.clock
        if clock.seconds() >= self._root_due:
            self._root_due = clock.seconds() + ROOT_S
            await self._check_root()
        if self.state is ShareState.UNAVAILABLE:
            await self._withdraw()
            self._release()
            await self._bell.wait(ROOT_S)
            return
        if self._pass is None and (self._wanted or clock.seconds() >= self._pass_due):
            await self._begin_pass()
        changed, lost = self._watch.take()
        if lost:
            self._wanted = True
        again, self._again = self._again, {}
        for path in again:
            changed.setdefault(path, False)
        if changed:
            await self._look(changed)
        if self._folders and await self._advance(self._folders[0], self.skips):
            self._folders.popleft()
        if self._pass is not None:
            if await self._advance(self._pass.walk, self._pass.skips):
                await self._end_pass(self._pass)
        elif not self._folders and not changed:
            now = clock.seconds()
            await self._bell.wait(max(0.0, min(self._root_due, self._pass_due) - now))

    async def _look(self, changed: dict[bytes, bool]) -> None:
        """At single paths where something has happened."""
        books, around = self._around.books, self._around
        if changed.pop(b"", None) is not None:
            # The shared directory itself: it may be gone, or open to us now.
            self._root_due = 0.0
            self._wanted = True
        part = await around.pool.run(look_at, self.directory, self.name, changed)
        for path in changed:
            self._discard_skip(path)
        self._add_skips(part)
        for path in part.missing:
            self._watch.drop(path)
        # A file may stand where a folder was. (What stands where a file was is for the folder's walk.)
        missing = part.missing + [found.path for found in part.found if self._watch.drop(found.path)]
        while missing:
            missing = await books.run(books.ledger.forget, self.id, missing, around.now())
        if part.found:
            await books.run(books.ledger.take, self.id, part.found, self._seen(), around.now())
            around.work_waits()
        for folder in part.folders:
            self._walk_folder(folder)

    async def _advance(self, walk: Walk, skips: Skips) -> bool:
        """Take one part of the walk. True when it is through and what it did not see is forgotten."""
        books, around = self._around.books, self._around
        try:
            part = await around.pool.run(walk.part)
        except OSError:
            # It is the shared directory itself: the look at it will tell.
            self._root_due = 0.0
            self._wanted = True
            await self._give_up_walks()
            return False
        self._tell_watch_error()
        for path, reason in part.skipped:
            skips.add(path, reason)
        if part.found:
            await books.run(books.ledger.take, self.id, part.found, self._seen(), around.now())
            around.work_waits()
        if not part.ended:
            return False
        after: Cursor | None = None
        while True:
            after = await books.run(books.ledger.sweep, self.id, walk.folder, walk.seen, after, around.now())
            if after is None:
                return True

    def _walk_folder(self, folder: bytes) -> None:
        if len(self._folders) >= MAX_FOLDERS:
            self._wanted = True
        # The first is under way: what it has gone by may have changed since.
        elif all(walk.folder != folder for walk in list(self._folders)[1:]):
            self._folders.append(self._walk(folder))

    # --- A pass through everything ---------------------------------------------------------------

    async def _begin_pass(self) -> None:
        await self._give_up_walks()
        started = self._around.clock.seconds()
        revision = self._around.books.ledger.snapshot.position.revision
        self._pass = _Pass(self._walk(b""), started, revision, self._asked, self._waiters)
        self._wanted = self._asked = False
        self._waiters = []
        self._watch_error = None
        self._failures_told = self._unreadable_told = 0
        self.state = ShareState.SCANNING

    async def _end_pass(self, done: _Pass) -> None:
        books, around = self._around.books, self._around
        await books.run(books.ledger.prune, around.now())
        if self._root is not None and self._root.device != self._device:
            self._device = self._root.device
            await books.run(books.ledger.set_device, self.id, self._device)
        self._pass = None
        self.skips = done.skips
        self.state = ShareState.OK
        self._watch_failed = self._watch_error is not None
        every_s = min(around.rescan_s, FREQUENT_S) if self._watch_failed else around.rescan_s
        self._pass_due = around.clock.seconds() + every_s * around.rng.uniform(0.9, 1.1)
        snapshot = books.ledger.snapshot
        if done.asked or snapshot.position.revision != done.revision:
            counts = snapshot.shares[self.id]
            around.events.emit(
                "share.scanned",
                share=self.name,
                listings=counts.listings,
                bytes=counts.bytes,
                skipped=len(self.skips),
                took_s=round(around.clock.seconds() - done.started, 3),
            )
        for waiter in done.waiters:
            waiter.callback(None)

    async def _give_up_walks(self) -> None:
        walks = [*self._folders, *([] if self._pass is None else [self._pass.walk])]
        self._folders.clear()
        if self._pass is not None:
            self._waiters = self._pass.waiters + self._waiters
            self._asked = self._asked or self._pass.asked
            self._pass = None
        for walk in walks:
            await self._around.pool.run(walk.close)

    def _release(self) -> None:
        """Nobody need wait any longer."""
        waiters, self._waiters = self._waiters, []
        if self._pass is not None:
            waiters += self._pass.waiters
            self._pass.waiters = []
        for waiter in waiters:
            waiter.callback(None)

    # --- The directory itself --------------------------------------------------------------------

    async def _check_root(self) -> None:
        around = self._around
        refusal, root = await around.pool.run(self._look_at_root)
        trouble = refusal or root.trouble
        before, self._root = self._root, root
        if trouble is None:
            if before is None or self.state is ShareState.UNAVAILABLE:
                await self._come_back()
            elif (before.device, before.inode) != (root.device, root.inode):
                self._wanted = True
        elif self.state is not ShareState.UNAVAILABLE:
            self.trouble = trouble
            if refusal is not None:
                directory = printable(self.directory.decode(errors="replace"))
                around.events.emit("share.refused", share=self.name, directory=directory, error=refusal)
            else:
                around.events.emit("share.unavailable", f"{self.name} is missing: {trouble}.", share=self.name)
            await self._go_away()

    def _look_at_root(self) -> tuple[str | None, Root]:
        refusal = self._around.guard.refusal(self.directory)
        return refusal, look_at_root(self.directory, self._device) if refusal is None else Root(refusal)

    async def _come_back(self) -> None:
        books = self._around.books
        await books.run(books.ledger.set_missing, self.id, False)
        if self.state is ShareState.UNAVAILABLE:
            self._around.events.emit("share.available", share=self.name)
        self.state, self.trouble = ShareState.SCANNING, None
        self._wanted = self._asked = True

    async def _go_away(self) -> None:
        self.state = ShareState.UNAVAILABLE
        self._withdrawn = False
        await self._give_up_walks()
        self._watch.drop(b"")
        self._watch.take()
        self._again.clear()

    async def _withdraw(self) -> None:
        """What the missing directory listed, once."""
        books = self._around.books
        if self._withdrawn:
            return
        await books.run(books.ledger.set_missing, self.id, True)
        after: Cursor | None = None
        while True:
            after = await books.run(books.ledger.withdraw, self.id, after)
            if after is None:
                break
        self._withdrawn = True

    # --- Small parts -----------------------------------------------------------------------------

    def _walk(self, folder: bytes) -> Walk:
        return Walk(self.directory, folder, self.name, self._watch_folder, self._around.now)

    def _seen(self) -> list[Bitmap]:
        """Of the walks under way: they may not come by what is entered now, and must not forget it."""
        walks = [*self._folders, *([] if self._pass is None else [self._pass.walk])]
        return [walk.seen for walk in walks]

    def _watch_folder(self, folder: bytes) -> None:
        """In a walk's thread."""
        try:
            self._watch.add(folder)
        except OSError as error:
            self._watch_error = error.strerror or str(error)

    def _tell_watch_error(self) -> None:
        if self._watch_error is not None and not self._watch_failed:
            self._watch_failed = True
            every_s = min(self._around.rescan_s, FREQUENT_S)
            said = f"Changes in {self.name} are found every {every_s:g} s: {self._watch_error}"
            self._around.events.emit("share.watch_failed", said, share=self.name, error=self._watch_error)

    def _heard(self) -> None:
        """In inotify's thread."""
        self._around.threads.callFromThread(self._gather)

    def _gather(self) -> None:
        if not self._ending and (self._gathering is None or not self._gathering.active()):
            self._gathering = self._around.clock.callLater(GATHER_S, self._bell.ring)

    def _discard_skip(self, path: bytes) -> None:
        self.skips.discard(path)
        if self._pass is not None:
            self._pass.skips.discard(path)

    def _add_skips(self, part: Part) -> None:
        for path, reason in part.skipped:
            self.skips.add(path, reason)
            if self._pass is not None:
                self._pass.skips.add(path, reason)
