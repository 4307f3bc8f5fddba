"""The peer's control methods: parameters in, the facade asked, a document out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred

from ..ops.control_connection import Caller, Handler
from ..wire import control as wire
from ..wire import documents
from .daemon import PeerDaemon
from .views import download_documents


@frozen
class PeerControl:
    daemon: PeerDaemon

    def methods(self) -> Mapping[str, Handler]:
        """By name, as `wire.control.PEER_METHODS` lists them; the frame answers the common ones but for `status`."""
        return {
            "status": self.status,
            "search": self.search,
            "get": self.get,
            "queue.list": self.queue_list,
            "queue.pause": self.queue_pause,
            "queue.resume": self.queue_resume,
            "queue.retry": self.queue_retry,
            "queue.cancel": self.queue_cancel,
            "queue.priority": self.queue_priority,
            "queue.move": self.queue_move,
            "queue.clear": self.queue_clear,
            "queue.wait": self.queue_wait,
            "queue.watch": self.queue_watch,
            "sources": self.sources,
            "cat": self.cat,
            "uploads": self.uploads,
            "share.list": self.share_list,
            "share.add": self.share_add,
            "share.remove": self.share_remove,
            "share.rescan": self.share_rescan,
            "share.check": self.share_check,
            "users": self.users,
            "whoami": self.whoami,
            "limit": self.limit,
            "wish.add": self.wish_add,
            "wish.list": self.wish_list,
            "wish.remove": self.wish_remove,
            "wish.found": self.wish_found,
        }

    async def status(self, params: wire.Nothing, caller: Caller) -> documents.StatusDocument:
        return self.daemon.status()

    async def search(self, params: wire.SearchParams, caller: Caller) -> documents.SearchDocument:
        return await self.daemon.search(params)

    async def get(self, params: wire.GetParams, caller: Caller) -> Any:
        return await self.daemon.get(params)

    async def queue_list(self, params: wire.ListParams, caller: Caller) -> Any:
        return await self.daemon.queue(params.selectors)

    async def queue_pause(self, params: wire.Selection, caller: Caller) -> Any:
        return await self.daemon.pause(params.selectors)

    async def queue_resume(self, params: wire.Selection, caller: Caller) -> Any:
        return await self.daemon.resume(params.selectors)

    async def queue_retry(self, params: wire.Selection, caller: Caller) -> Any:
        return await self.daemon.retry(params.selectors)

    async def queue_cancel(self, params: wire.Selection, caller: Caller) -> Any:
        return await self.daemon.cancel(params.selectors)

    async def queue_priority(self, params: wire.PriorityParams, caller: Caller) -> Any:
        return await self.daemon.prioritise(params.selectors, params.priority)

    async def queue_move(self, params: wire.MoveParams, caller: Caller) -> Any:
        return await self.daemon.move(params.selectors, params.to)

    async def queue_clear(self, params: wire.Nothing, caller: Caller) -> documents.DownloadsDocument:
        return await self.daemon.clear()

    async def queue_wait(self, params: wire.WaitParams, caller: Caller) -> Any:
        return await self.daemon.wait(params, caller.when_gone())

    async def queue_watch(self, params: wire.WatchParams, caller: Caller) -> Any:
        """Pushes what the selected look like, now and then, until all have ended or nobody listens."""
        daemon = self.daemon
        items = daemon.select(params.selectors or ("all",)).items
        while True:
            shown = documents.DownloadsDocument(download_documents(daemon.downloads, items, daemon.now()))
            if caller.gone or all(item.state.ended for item in items):
                return shown
            caller.push("downloads", shown)
            await caller.when_read()
            await self._moment(params.every_s, items)

    async def _moment(self, seconds: float, items: list[Any]) -> None:
        """So many seconds, or until all have ended."""
        ended = self.daemon.ended(items)
        waiting: Deferred[None] = Deferred()
        timer = self.daemon.clock.callLater(seconds, ended.cancel)
        ended.addBoth(lambda _: waiting.callback(None))
        try:
            await waiting
        finally:
            if timer.active():
                timer.cancel()

    async def sources(self, params: wire.SourcesParams, caller: Caller) -> documents.SourcesDocument:
        return self.daemon.sources_of(params.id)

    async def cat(self, params: wire.CatParams, caller: Caller) -> documents.CatDocument:
        """Pushes the bytes in order, no more at a time than the caller reads."""
        reading = await self.daemon.read(params.id, params.offset)
        gone = caller.when_gone()
        gone.addCallbacks(lambda _: reading.stop(), lambda failure: failure.trap(CancelledError))
        said = 0
        try:
            data = await reading.next()
            while data:
                caller.push("bytes", documents.BytesDocument(params.offset + said, data))
                said += len(data)
                # The next piece is read while this one is taken.
                coming = Deferred.fromCoroutine(reading.next())
                await caller.when_read()
                data = await coming
        finally:
            gone.cancel()
            await reading.close()
        return documents.CatDocument(params.id, params.offset, said)

    async def uploads(self, params: wire.Nothing, caller: Caller) -> documents.UploadsDocument:
        return documents.UploadsDocument(self.daemon.uploads.rows())

    async def share_list(self, params: wire.Nothing, caller: Caller) -> documents.SharesDocument:
        return documents.SharesDocument(self.daemon.shares.rows())

    async def share_add(self, params: wire.ShareAddParams, caller: Caller) -> documents.SharesDocument:
        row = await self.daemon.shares.add(Path(params.directory), params.name, params.audience)
        return documents.SharesDocument([row])

    async def share_remove(self, params: wire.ShareNameParams, caller: Caller) -> documents.SharesDocument:
        await self.daemon.shares.remove(params.name)
        return documents.SharesDocument(self.daemon.shares.rows())

    async def share_rescan(self, params: wire.ShareRescanParams, caller: Caller) -> documents.SharesDocument:
        await self.daemon.shares.rescan(params.name)
        rows = self.daemon.shares.rows()
        return documents.SharesDocument([row for row in rows if params.name in (None, row.name)])

    async def share_check(self, params: wire.ShareCheckParams, caller: Caller) -> documents.CheckDocument:
        return await self.daemon.shares.check(params.path)

    async def users(self, params: wire.UsersParams, caller: Caller) -> documents.UsersDocument:
        return await self.daemon.users(params.words)

    async def whoami(self, params: wire.Nothing, caller: Caller) -> documents.WhoamiDocument:
        return self.daemon.whoami()

    async def limit(self, params: wire.LimitParams, caller: Caller) -> documents.LimitDocument:
        return await self.daemon.limit(params)

    async def wish_add(self, params: wire.WishAddParams, caller: Caller) -> documents.WishesDocument:
        return await self.daemon.wishes.add(params)

    async def wish_list(self, params: wire.Nothing, caller: Caller) -> documents.WishesDocument:
        return self.daemon.wishes.wishes()

    async def wish_remove(self, params: wire.Selection, caller: Caller) -> Any:
        return await self.daemon.wishes.remove(params.selectors)

    async def wish_found(self, params: wire.WishFoundParams, caller: Caller) -> documents.FindsDocument:
        return await self.daemon.wishes.found(params.selectors, params.limit)
