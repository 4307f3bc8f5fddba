"""Shares at work: real threads, a real database, real inotify, on directories of the test's own."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.python.failure import Failure

from napd.background import Background
from napd.content.digest import CHUNK_BYTES, chunk_digest
from napd.content.manifest import manifest_of
from napd.errors import DiskFailed
from napd.model import ContentId
from napd.ops.events import Event, Events
from napd.peer.shares.service import DATABASE_NAME, Shares
from napd.wire.catalogue import Entry, catalogue_digest
from napd.wire.documents import ShareRow
from napd.wire.line import MAX_LINE_BYTES


def content_of(data: bytes) -> ContentId:
    """The content id of these bytes."""
    digests = b"".join(chunk_digest(data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES))
    return manifest_of(len(data), digests).outline.content


def unreadable_now(root: bytes, path: bytes) -> int:
    """In place of `opening.open_file`: no file can be read, which says nothing about any of them."""
    raise DiskFailed("not now")


@define
class Sharing:
    """One peer's shares and what was heard of them.

    :param ahead: seconds that `now` is ahead of the clock, so that files just made count as old.
    """

    reactor: Any
    state: Path
    forbidden: list[Path]
    rescan_s: float = 3600.0
    ahead: float = 0.0
    faults: list[tuple[str, Failure]] = field(factory=list)
    heard: list[Event] = field(factory=list)
    changes: int = 0
    told: int = 0
    stopped: bool = False
    shares: Shares = field(init=False)
    background: Background = field(init=False)

    def start(self, prepare: Callable[[Shares], None] = lambda shares: None) -> Sharing:
        self.state.mkdir(exist_ok=True)
        events = Events(self.now)
        events.listen(self.heard.append)
        self.background = Background(lambda name, failure: self.faults.append((name, failure)))
        self.shares = Shares(
            reactor=self.reactor,
            state=self.state,
            events=events,
            background=self.background,
            now=self.now,
            rng=Random(7),
            forbidden=[self.state, *self.forbidden],
            rescan_s=self.rescan_s,
        )
        prepare(self.shares)
        self.shares.on_change(self._changed)
        self.shares.start()
        return self

    async def stop(self) -> None:
        self.stopped = True
        await self.shares.stop()
        await self.background.stop()
        assert not self.faults, self.faults

    def now(self) -> float:
        return time.time() + self.ahead

    def _changed(self) -> None:
        self.changes += 1
        self.told = self.shares.position().revision

    # --- What is seen from outside ---------------------------------------------------------------

    def row(self, name: str) -> ShareRow:
        return next(row for row in self.shares.rows() if row.name == name)

    def entries(self) -> list[Entry]:
        """The whole catalogue, step by step as an index gets it; checked against its digest."""
        entries: list[Entry] = []
        after, digest = 0, "0" * 64
        while step := self.shares.step(after, MAX_LINE_BYTES):
            for entry in step.withdraw:
                if entry in entries:
                    entries.remove(entry)
            entries.extend(entry for entry in step.add if entry not in entries)
            after = step.revision
            if step.digest is not None:
                digest = step.digest
        assert catalogue_digest(entries) == digest
        return entries

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self.entries())

    def paths(self) -> list[str]:
        return sorted(f"{entry.folder}/{entry.name}" for entry in self.entries())

    def settled(self) -> bool:
        """Every share was gone through, and nothing waits to be hashed."""
        return all(row.state != "scanning" and row.hashing == 0 for row in self.shares.rows())

    def count(self, query: str) -> int:
        """What stands in the database."""
        connection = sqlite3.connect(f"{(self.state / DATABASE_NAME).absolute().as_uri()}?mode=ro", uri=True)
        try:
            return int(connection.execute(query).fetchone()[0])
        finally:
            connection.close()

    def events(self, name: str) -> list[Event]:
        return [event for event in self.heard if event.event == name]


#: Makes and starts one: see tests/unit/shares/conftest.py.
Make = Callable[..., Sharing]
