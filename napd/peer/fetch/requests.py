"""What is asked of a source over one link, and what becomes of it: it comes, is refused, has to wait, or is cancelled.

What the source says about a request is told to whoever asked. The bytes of an answer follow the line that announces
it, and are handed on when they are whole; nothing here verifies them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...errors import RemoteProtocolError, SourceFailed
from ...model import ContentId
from ...net.buffers import Buffers
from ...wire import peer as wire
from .incoming import Incoming, buffer_for
from .outstanding import Outstanding
from .patience import Patience
from .places_told import PlacesTold
from .watches import Watcher, Watches


class Receiver(Protocol):
    """Who asked for chunks; implemented by `peer.fetch.lane` and `peer.fetch.flows`."""

    def chunk_came(self, chunk: int, data: bytes | memoryview) -> None:
        """The bytes of one chunk, unverified. Called in the order of the run."""

    def get_ended(self, failure: SourceFailed | None) -> None:
        """Nothing more comes for this request; None: all of it came, or it was cancelled by the asker."""

    def place_told(self, position: int | None) -> None:
        """All slots of the source are taken and this is our place; None: it is being served."""


@define(eq=False)
class GetRequest:
    """Chunks that are asked for and have not all come; those from `wanted_end` on are cancelled."""

    id: int
    content: ContentId
    next_chunk: int
    end_chunk: int
    wanted_end: int
    receiver: Receiver
    #: The source will not answer it (any further).
    refused: bool = False

    @property
    def cancelled(self) -> bool:
        return self.wanted_end < self.end_chunk

    @property
    def left(self) -> int:
        """Chunks that are still wanted."""
        return max(0, self.wanted_end - self.next_chunk)


@define(eq=False)
class _ManifestRequest:
    id: int
    done: Deferred[tuple[int, bytes]]


class Requests:
    """All of one `FetchSession`, by number.

    :param patience: hears what is owed, and that something of it came.
    :param buffers: what large chunks are put into, of the size of a chunk.
    :param say: sends these messages. :param expect_raw: so many raw bytes follow, to be put there.
    """

    def __init__(
        self,
        clock: IReactorTime,
        patience: Patience,
        buffers: Buffers,
        say: Callable[..., None],
        expect_raw: Callable[[int, memoryview | None], None],
    ) -> None:
        self._clock = clock
        self._patience = patience
        self._buffers = buffers
        self._say = say
        self._expect_raw = expect_raw
        self._next_id = 1
        self._gets: dict[int, GetRequest] = {}
        self._manifests: dict[int, _ManifestRequest] = {}
        self._watches = Watches()
        self._outstanding = Outstanding()
        self._places = PlacesTold()
        self._incoming: Incoming | None = None

    # --- How it stands ---------------------------------------------------------------------------

    @property
    def receiving(self) -> bool:
        """Whether raw bytes are on their way."""
        return self._incoming is not None

    @property
    def watching(self) -> bool:
        """Whether the source tells what it has of something."""
        return bool(self._watches)

    def position(self, content: ContentId) -> int | None:
        """Our place in the source's upload queue, if something of this content is wanted and has to wait."""
        place = self._places.position(content)
        return place if place is not None and self._is_wanted(content) else None

    def estimate_s(self, content: ContentId) -> float | None:
        """For how long we wait there yet, as the source expects; None if it does not say."""
        return None if self.position(content) is None else self._places.estimate_s(content, self._clock.seconds())

    def _is_wanted(self, content: ContentId) -> bool:
        return any(request.left for request in self._gets.values() if request.content == content)

    def owes_changed(self) -> None:
        """Something was asked for, has come, or has to be waited for; told to `patience`."""
        owes = bool(self._manifests) or any(r.content not in self._places for r in self._gets.values())
        self._patience.owes(self._clock.seconds(), owes)

    # --- Asking ----------------------------------------------------------------------------------

    def outline(self, content: ContentId) -> Deferred[tuple[int, bytes]]:
        """(size, group digests), unverified. Fails with `SourceFailed`."""
        return self._ask_manifest(lambda number: wire.GetOutline(number, content))

    def group(self, content: ContentId, group: int) -> Deferred[tuple[int, bytes]]:
        """(0, chunk digests of the group), unverified. Fails with `SourceFailed`."""
        return self._ask_manifest(lambda number: wire.GetGroup(number, content, group))

    def _ask_manifest(self, build: Callable[[int], wire.FromFetcher]) -> Deferred[tuple[int, bytes]]:
        request = _ManifestRequest(self._new_id(), Deferred())
        self._manifests[request.id] = request
        self.owes_changed()
        self._say(*self._outstanding.ask(request.id, build(request.id)))
        return request.done

    def get(
        self,
        content: ContentId,
        first: int,
        count: int,
        transfer: str,
        receiver: Receiver,
        priority: int = wire.NORMAL,
        *,
        loose: bool = False,
    ) -> GetRequest:
        """Ask for a run of chunks; they come to the receiver.

        :param loose: those of other loose requests may come before.
        """
        if content in self._places and not self._is_wanted(content):
            # The place was told for what is cancelled; the source tells it anew if it makes us wait again.
            self._places.is_over(content)
        request = GetRequest(self._new_id(), content, first, first + count, first + count, receiver)
        self._gets[request.id] = request
        self.owes_changed()
        get = wire.Get(request.id, content, first, count, transfer, priority, loose)
        self._say(*self._outstanding.ask(request.id, get))
        return request

    def is_coming(self, request: GetRequest) -> bool:
        """Whether some bytes of its next chunk have come."""
        return self._incoming is not None and self._incoming.request is request

    def cancel(self, request: GetRequest, *, but_current: bool = False) -> None:
        """What has not come yet is not wanted; the receiver hears nothing more.

        :param but_current: the chunk of which bytes have come is wanted still, and is the last that the receiver hears.
        """
        if request.id not in self._gets:
            return
        said = request.cancelled
        current = but_current and self.is_coming(request)
        request.wanted_end = min(request.wanted_end, request.next_chunk + current)
        if said or not request.cancelled:
            return
        if self._outstanding.withdraw(request.id):
            del self._gets[request.id]
        else:
            self._say(wire.Cancel(request.id))
        self.owes_changed()

    def watch(self, content: ContentId, watcher: Watcher) -> int | None:
        """Have the watcher told which chunks are there, until `unwatch`; None: this source cannot tell (any more)."""
        if not self._watches.room:
            return None
        number = self._new_id()
        self._watches.begin(number, watcher)
        self._say(wire.GetHave(number, content))
        return number

    def unwatch(self, number: int) -> None:
        if self._watches.end(number):
            self._say(wire.Cancel(number))

    # --- What the source says --------------------------------------------------------------------

    def features_told(self, features: Collection[str]) -> None:
        self._watches.features = features

    def chunk_announced(self, header: wire.Chunk) -> None:
        """:raises RemoteProtocolError: if it is not the next of a request."""
        request = self._gets.get(header.id)
        if request is None or header.chunk != request.next_chunk or header.chunk >= request.end_chunk:
            raise RemoteProtocolError(f"chunk {header.chunk} was not asked for", code="unasked")
        self._progressed()
        if self._places.is_over(request.content):
            request.receiver.place_told(None)
        hand_on = partial(self._chunk_came, request, header.chunk)
        self._await(Incoming(request, header.bytes, hand_on, buffer_for(header.bytes, self._buffers)))

    def manifest_announced(self, header: wire.Outline | wire.Group) -> None:
        """:raises RemoteProtocolError: if nobody asked for it."""
        request = self._manifests.get(header.id)
        if request is None:
            raise RemoteProtocolError("a manifest that was not asked for", code="unasked")
        self._progressed()
        number = header.size if isinstance(header, wire.Outline) else 0
        self._await(Incoming(request, header.bytes, partial(self._manifest_came, request, number)))

    def _await(self, incoming: Incoming) -> None:
        self._incoming = incoming
        if incoming.size:
            self._expect_raw(incoming.size, incoming.into)
        else:
            self.hand_on()

    def raw_heard(self, data: bytes | memoryview) -> None:
        """Some of what was announced; call `hand_on` afterwards.

        :raises RemoteProtocolError: if nothing was.
        """
        self._progressed(len(data))
        if self._incoming is None:
            raise RemoteProtocolError("raw bytes that nothing announced")
        self._incoming.take(data)

    def hand_on(self) -> None:
        """What has come in whole goes to whoever asked for it."""
        incoming = self._incoming
        if incoming is not None and incoming.complete:
            self._incoming = None
            incoming.hand_on(incoming.whole())

    def _manifest_came(self, request: _ManifestRequest, number: int, data: bytes | memoryview) -> None:
        del self._manifests[request.id]
        self._answered(request.id)
        self.owes_changed()
        request.done.callback((number, bytes(data)))

    def _chunk_came(self, request: GetRequest, chunk: int, data: bytes | memoryview) -> None:
        request.next_chunk += 1
        ended = request.next_chunk == request.end_chunk
        if ended:
            self._gets.pop(request.id, None)
            self._answered(request.id)
        self.owes_changed()
        if chunk < request.wanted_end:
            request.receiver.chunk_came(chunk, data)
            if ended:
                request.receiver.get_ended(None)

    def queued(self, told: wire.Queued) -> None:
        """We have to wait for what it has of this content."""
        self._progressed()
        content = ContentId(told.content)
        waiting = [request for request in self._gets.values() if request.content == content]
        if waiting and self._places.told(told, self._clock.seconds()):
            for receiver in {id(request.receiver): request.receiver for request in waiting}.values():
                receiver.place_told(told.position)
        self.owes_changed()

    def have_told(self, have: wire.Have) -> None:
        self._watches.told(have)

    def refused(self, about: int | None, failure: SourceFailed) -> None:
        """One request fails; the link and the others go on."""
        self._progressed()
        if about is None:
            return
        if self._watches.refused(about, failure):
            return
        self._answered(about)
        manifest = self._manifests.pop(about, None)
        if manifest is not None:
            self.owes_changed()
            manifest.done.errback(failure)
        request = self._gets.pop(about, None)
        if request is None:
            return
        if all(other.content != request.content for other in self._gets.values()):
            # The next request for it begins anew.
            self._places.is_over(request.content)
        self.owes_changed()
        request.refused = True
        if request.left:
            request.receiver.get_ended(failure)

    def fail(self, failure: SourceFailed) -> None:
        """The link is gone; whoever waits is told."""
        gets, self._gets = self._gets, {}
        manifests, self._manifests = self._manifests, {}
        self._watches.clear()
        self._outstanding.clear()
        self._incoming = None
        for manifest in manifests.values():
            manifest.done.errback(failure)
        for request in gets.values():
            if request.left:
                request.receiver.get_ended(failure)
        self._buffers.trim()

    # --- Small change ----------------------------------------------------------------------------

    def _answered(self, number: int) -> None:
        """In full, or it never will be: another may take its place."""
        self._say(*self._outstanding.ended(number))

    def _progressed(self, size: int = 0) -> None:
        """Something of what is owed has come."""
        self._patience.progressed(self._clock.seconds(), size)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1
