"""The serving end's answers about manifests: sizes and digests, which need no slot."""

from __future__ import annotations

from collections import deque

from ...errors import NapError
from ...model import ContentId
from ...wire import peer as wire
from .outlet import Outlet
from .uploads import Uploads


class ManifestAnswers:
    """One link's requests for outlines and groups. Whether the asker may know is decided before they come here."""

    def __init__(self, uploads: Uploads, outlet: Outlet) -> None:
        self._uploads = uploads
        self._outlet = outlet
        self._requests: deque[wire.GetOutline | wire.GetGroup] = deque()
        self._serving = False

    def __len__(self) -> int:
        return len(self._requests)

    def ask(self, request: wire.GetOutline | wire.GetGroup) -> bool:
        """Whether `serve` has to be started for it."""
        self._requests.append(request)
        started, self._serving = self._serving, True
        return not started

    def forget(self) -> None:
        self._requests.clear()

    async def serve(self) -> None:
        """Answer as long as there is something to answer."""
        try:
            while self._requests and self._outlet.link is not None:
                header, digests = await self._answer(self._requests[0])
                await self._outlet.between_chunks()
                link = self._outlet.link
                if not self._requests or link is None:
                    return
                # It was open until now: whoever asks for more than it takes meets the limit.
                self._requests.popleft()
                self._outlet.say(header)
                link.send_raw(digests)
                await self._outlet.drained(link)
        finally:
            self._serving = False

    async def _answer(self, request: wire.GetOutline | wire.GetGroup) -> tuple[wire.FromServer, bytes]:
        content = ContentId(request.content)
        try:
            if isinstance(request, wire.GetOutline):
                size, digests = await self._uploads.outline(content)
                return wire.Outline(request.id, size, len(digests)), digests
            digests = await self._uploads.group(content, request.group)
            return wire.Group(request.id, len(digests)), digests
        except (LookupError, NapError):
            return wire.Gone(request.id), b""
