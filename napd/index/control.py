"""The index's own methods on its control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import __version__
from ..errors import NapError
from ..ops.control_connection import Caller, Handler
from ..ops.events import rfc3339
from ..ops.memory import resident_bytes
from ..wire import control as wire
from ..wire.documents import UserRow, UsersDocument
from ..wire.index_documents import EngineTotals, IndexNode, IndexStatusDocument, KnownTotals
from .answers import user_rows
from .items import Asker
from .services import Services

#: The operator: sees what everyone sees, and is nobody's account.
OPERATOR = Asker(0, "", "")


class IndexMethods:
    """:param listen: HOST:PORT as bound.
    :param started: when, in seconds of index time.
    """

    def __init__(self, services: Services, listen: Callable[[], str], started: float) -> None:
        self._services = services
        self._listen = listen
        self._started = started

    def handlers(self) -> Mapping[str, Handler]:
        return {"status": self._status, "index.status": self._status, "index.users": self._users}

    async def _status(self, params: Any, caller: Caller) -> IndexStatusDocument:
        services = self._services
        presence = services.presence
        known, database_bytes = await self._known()
        return IndexStatusDocument(
            index=services.id,
            version=__version__,
            peers=len(presence.all()),
            listings=presence.listings,
            contents=presence.contents,
            bytes=presence.bytes,
            searches=services.figures.searches,
            listen=self._listen(),
            database=services.store.name,
            uptime_s=round(services.now() - self._started, 3),
            known=known,
            engine=EngineTotals(*services.engine.size()),
            wishes=len(services.wishing),
            database_bytes=database_bytes,
            memory_bytes=resident_bytes(),
            nodes=await self._nodes(),
        )

    async def _known(self) -> tuple[KnownTotals | None, int | None]:
        """What the store remembers, and the bytes that takes. A store in trouble hides no other figure."""
        try:
            counts = await self._services.store.counts()
        except NapError:
            return None, None
        return KnownTotals(counts.accounts, counts.listings, counts.items, counts.contents), counts.bytes_on_disk

    async def _nodes(self) -> list[IndexNode] | None:
        cluster = self._services.cluster
        try:
            nodes = await cluster.nodes()
        except NapError:
            return None
        return [
            IndexNode(
                one.node, one.name, rfc3339(one.since), round(one.lease_s, 1), one.peers, one.node == cluster.node
            )
            for one in nodes
        ]

    async def _users(self, params: wire.UsersParams, caller: Caller) -> UsersDocument:
        rows = user_rows(params.words, self._services.presence, OPERATOR)
        return UsersDocument([UserRow(row.user, row.peer, row.listings, row.bytes, rfc3339(row.since)) for row in rows])
