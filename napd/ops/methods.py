"""The control methods that both daemons share: version, events, reload, shutdown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from .. import __version__
from ..wire import control as wire
from ..wire.documents import DoneDocument, VersionDocument
from .control_connection import Caller, Handler
from .events import Event, Events, matches

#: Events pushed before a caller must have read some.
EVENTS_AT_ONCE = 200


@frozen
class CommonMethods:
    """
    :param reload: reads the configuration again; returns the settings that need a restart.
    :param shut_down: ends the daemon; its result fires when everything is saved and the state directory is free.
    """

    events: Events
    reload: Callable[[], Awaitable[list[str]]]
    shut_down: Callable[[], Awaitable[None]]

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "version": self._version,
            "events": self._events,
            "reload": self._reload,
            "shutdown": self._shutdown,
        }

    async def _version(self, params: wire.Nothing, caller: Caller) -> VersionDocument:
        return VersionDocument(client="", daemon=__version__, protocol=wire.PROTOCOL)

    async def _events(self, params: wire.EventsParams, caller: Caller) -> DoneDocument:
        last = params.since
        while batch := self.events.remembered(last, params.type)[:EVENTS_AT_ONCE]:
            for event in batch:
                caller.push("event", event.document())
            last = batch[-1].id
            await caller.when_read()
            if caller.gone:
                break
        if params.follow and not caller.gone:
            await self._follow(params.type, caller)
        return DoneDocument("end of events")

    async def _follow(self, pattern: str | None, caller: Caller) -> None:
        def heard(event: Event) -> None:
            if matches(event, pattern):
                caller.push("event", event.document())

        stop_hearing = self.events.listen(heard)
        try:
            await caller.when_gone()
        finally:
            stop_hearing()

    async def _reload(self, params: wire.Nothing, caller: Caller) -> DoneDocument:
        restart = await self.reload()
        if restart:
            return DoneDocument(f"the configuration was read again; needs a restart: {', '.join(restart)}")
        return DoneDocument("the configuration was read again")

    async def _shutdown(self, params: wire.Nothing, caller: Caller) -> DoneDocument:
        await self.shut_down()
        return DoneDocument("the daemon has stopped")
