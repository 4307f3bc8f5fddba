"""Wishes on a database of their own, without threads: what is asked of the disk happens at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred

from napd.errors import NapError
from napd.model import ContentId
from napd.ops.database import open_database
from napd.peer.fetch.downloads import Wanted
from napd.peer.wishes.store import DATABASE_NAME, SCHEMA, WishStore
from napd.wire.index import Result


class NoThread:
    """A `StoreThread` that works at once."""

    def run(self, work: Callable[..., Any], /, *args: Any) -> Deferred[Any]:
        return maybeDeferred(work, *args)


@contextmanager
def wish_store(state: Path, **how: Any) -> Iterator[WishStore]:
    """Opened anew, as by a daemon that starts."""
    connection = open_database(state / DATABASE_NAME, SCHEMA)
    try:
        yield WishStore(connection, NoThread(), **how)
    finally:
        connection.close()


@define
class GetList:
    """`Downloads` that only notes what it is asked for."""

    asked: list[str] = field(factory=list)
    failure: NapError | None = None

    async def get(self, wanted: Sequence[Wanted], **how: Any) -> list[Any]:
        if self.failure is not None:
            raise self.failure
        items = []
        for want in wanted:
            if want.content not in self.asked:
                self.asked.append(want.content)
            items.append(SimpleNamespace(content=want.content, id=self.asked.index(want.content) + 1))
        return items


def content(number: int) -> ContentId:
    return ContentId(f"{number:064x}")


def result(number: int, name: str | None = None) -> Result:
    return Result(content(number), name or f"{number}.txt", "share", number, 1, ("bob",), None)
