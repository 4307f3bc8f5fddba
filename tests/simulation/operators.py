"""The person at a peer's command line: commands of every kind, at any time, checked for what they promise."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from napd.errors import NapError
from napd.model import ContentId, DownloadState, Priority
from napd.peer.fetch.downloads import Wanted
from napd.peer.item import Item
from tests.simulation.contents import Content
from tests.simulation.peers import SimPeer


@define(eq=False, repr=False)
class Operator:
    """:param failed: told what went wrong that must not."""

    peer: SimPeer
    chance: Random
    failed: Callable[[str], None]

    def get(self, *contents: Content, priority: Priority | None = None) -> None:
        wanted = [Wanted(content.id, content.name, self.chance.choice([content.size, None])) for content in contents]
        self._note(f"get {' '.join(content.name for content in contents)} {priority or ''}")
        sequential = self.chance.random() < 0.2
        downloads = self.peer.downloads
        self._do(downloads.get(wanted, priority=priority, directory=None, name=None, sequential=sequential))

    def anything(self) -> None:
        """One command, by chance."""
        items = list(self.peer.downloads.queue)
        some = self.chance.sample(items, self.chance.randint(1, len(items))) if items else []
        command = self.chance.choice(
            [
                *(self.pause, self.resume, self.resume, self.cancel, self.move, self.prioritise, self.retry),
                *(self.stream, self.limit, self.slots, self.rates, self.get_again, self.clear),
            ]
        )
        command(some)

    def settle_down(self, limit: int, slots: int) -> None:
        """Nothing is paused or limited any more."""
        downloads = self.peer.downloads
        self._note("settles down")
        self._do(self._limit(limit))
        self.peer.uploads.turns.set_limit(slots)
        self.peer.up.set_rate(None)
        self.peer.down.set_rate(None)
        self._do(downloads.resume([item for item in downloads.queue if item.state is DownloadState.PAUSED]))

    # --- Commands --------------------------------------------------------------------------------

    def pause(self, items: list[Item]) -> None:
        self._note("pauses " + _ids(items))
        self._do(self.peer.downloads.pause(items))
        self._expect(all(item.state is DownloadState.PAUSED or item.state.ended for item in items), "pause")

    def resume(self, items: list[Item]) -> None:
        self._note("resumes " + _ids(items))
        self._do(self.peer.downloads.resume(items))
        self._expect(all(item.state is not DownloadState.PAUSED for item in items), "resume")

    def cancel(self, items: list[Item]) -> None:
        items = items[:1]
        self._note("cancels " + _ids(items))
        self._do(self.peer.downloads.cancel(items))
        self._expect(all(item.state in (DownloadState.CANCELLED, DownloadState.DONE) for item in items), "cancel")

    def retry(self, items: list[Item]) -> None:
        self._note("retries " + _ids(items))
        self._do(self.peer.downloads.retry(items))

    def move(self, items: list[Item]) -> None:
        to = self.chance.choice(["top", "up", "down", "bottom", "1", "2"])
        self._note(f"moves {_ids(items)} {to}")
        self._do(self.peer.downloads.move(items, to))

    def prioritise(self, items: list[Item]) -> None:
        priority = self.chance.choice(list(Priority))
        self._note(f"makes {_ids(items)} {priority.value}")
        self._do(self.peer.downloads.prioritise(items, priority))
        self._expect(all(item.priority is priority for item in items), "priority")

    def stream(self, items: list[Item]) -> None:
        self._note("reads " + _ids(items[:1]))
        for item in items[:1]:
            self._do(self.peer.downloads.stream(item))

    def limit(self, items: list[Item]) -> None:
        limit = self.chance.randint(1, 4)
        self._note(f"limits downloads to {limit}")
        self._do(self._limit(limit))

    def slots(self, items: list[Item]) -> None:
        slots = self.chance.randint(1, 4)
        self._note(f"limits slots to {slots}")
        self.peer.uploads.turns.set_limit(slots)

    def rates(self, items: list[Item]) -> None:
        rate = self.chance.choice([None, 100e3, 1e6])
        pacer, name = self.chance.choice([(self.peer.up, "up"), (self.peer.down, "down")])
        self._note(f"limits {name} to {rate}")
        pacer.set_rate(rate)

    def get_again(self, items: list[Item]) -> None:
        contents: list[ContentId] = [item.content for item in items]
        self._note("gets again " + _ids(items))
        wanted = [Wanted(content, "again.bin", None) for content in contents]
        self._do(self.peer.downloads.get(wanted, priority=None, directory=None, name=None))

    def clear(self, items: list[Item]) -> None:
        self._note("clears the queue")
        self._do(self.peer.downloads.clear())

    # --- Inside ----------------------------------------------------------------------------------

    async def _limit(self, limit: int) -> None:
        """As `PeerDaemon.limit`."""
        downloads = self.peer.downloads
        await self.peer.journal.set({"downloads": repr(limit)})
        downloads.set_limit(limit)

    def _do(self, work: Any) -> None:
        def over(result: Any) -> None:
            if hasattr(result, "check") and not result.check(NapError):
                self.failed(f"a command of {self.peer.user} failed: {result.getTraceback()}")

        Deferred.fromCoroutine(work).addBoth(over)

    def _expect(self, so: bool, command: str) -> None:
        """What a command changes in the queue is changed when it returns, before it is journalled."""
        if not so:
            self.failed(f"{command} of {self.peer.user} did not do what it says")

    def _note(self, what: str) -> None:
        self.peer.trace.note(self.peer.world.seconds(), self.peer.user, f"# {what}")


def _ids(items: list[Item]) -> str:
    return ",".join(str(item.id) for item in items)
