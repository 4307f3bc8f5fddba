"""A plain good answer to every method, for tests of what napctl asks."""

from __future__ import annotations

from tests.support import documents
from tests.support.fake_daemon import Answer, HangUp, Push, Reply

_DOWNLOADS = documents.downloads(documents.download(3))
_DONE = documents.downloads(documents.done(3))
_END: dict[str, object] = {"schema": 1, "message": "that is all"}

ANSWERS: dict[str, Answer] = {
    "version": documents.VERSION,
    "status": documents.STATUS,
    "events": [*(Push("event", event) for event in documents.EVENTS), Reply(_END)],
    "reload": documents.STOPPING,
    "shutdown": [Reply(documents.STOPPING), HangUp()],
    "search": documents.SEARCH,
    "get": _DOWNLOADS,
    **{
        f"queue.{verb}": _DOWNLOADS
        for verb in ("list", "pause", "resume", "retry", "cancel", "priority", "move", "clear")
    },
    "queue.wait": _DONE,
    "queue.watch": [Push("downloads", _DOWNLOADS), Push("downloads", _DONE), Reply(_DONE)],
    "sources": documents.SOURCES,
    "cat": [*(Push("bytes", piece) for piece in documents.PIECES), Reply(documents.CAT)],
    "uploads": documents.UPLOADS,
    "share.list": documents.SHARES,
    "share.add": documents.SHARES,
    "share.remove": documents.SHARES,
    "share.rescan": _END,
    "share.check": documents.CHECK,
    "users": documents.USERS,
    "whoami": documents.WHOAMI,
    "limit": documents.LIMITS,
    **{f"wish.{verb}": documents.WISHES for verb in ("add", "list", "remove")},
    "wish.found": documents.FINDS,
    "index.status": documents.INDEX_STATUS,
    "index.users": documents.USERS,
}
