"""`share check PATH`: whether others can get what is there, and if not, why."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ...errors import Misuse, printable
from ...ops.threads import Pool
from ...wire.documents import CheckDocument
from .guard import Guard
from .reader import Reader
from .share import Share, ShareState
from .walk import look_at


async def check(path: str, shares: Sequence[Share], pool: Pool, guard: Guard, reader: Reader) -> CheckDocument:
    """:raises Misuse: the path is not absolute."""
    if not path.startswith("/") or "\0" in path:
        raise Misuse(f"{printable(path)} is not an absolute path")
    real = await pool.run(_place, os.fsencode(path))
    refused = None
    for share in shares:
        relative = _within(share.directory, real)
        if relative is None:
            continue
        said = await _in_share(path, share, relative, pool, reader)
        if said.shared:
            return said
        refused = refused or said
    if refused is not None:
        return refused
    reason = await pool.run(guard.refusal, real)
    said_why = "it is in no share" if reason is None else f"it is in no share and must not be shared: {reason}"
    return CheckDocument(path, False, None, said_why)


async def _in_share(path: str, share: Share, relative: bytes, pool: Pool, reader: Reader) -> CheckDocument:
    def refused(reason: str) -> CheckDocument:
        return CheckDocument(path, False, share.name, reason)

    if share.state is ShareState.UNAVAILABLE:
        return refused(f"the share is unavailable: {share.trouble}")
    if not relative:
        return CheckDocument(path, True, share.name, None)
    if any(part.startswith(b".") for part in relative.split(b"/")):
        return refused("hidden")
    part = await pool.run(look_at, share.directory, share.name, {relative: False})
    if part.folders:
        return CheckDocument(path, True, share.name, None)
    if part.skipped:
        return refused(part.skipped[0].reason)
    if part.missing:
        return refused("there is no such file")
    state = reader.file(share.id, relative)
    if state is not None and state.entry is not None:
        return CheckDocument(path, True, share.name, None, state.entry.content, state.entry.size)
    if state is not None and state.failed is not None:
        return refused(f"unreadable: {state.failed}")
    return refused("it waits to be hashed")


def _place(path: bytes) -> bytes:
    """The path with the links on the way to it resolved, but not what it is itself."""
    above, name = os.path.split(os.path.normpath(path))
    return os.path.join(os.path.realpath(above), name)


def _within(directory: bytes, path: bytes) -> bytes | None:
    if path == directory:
        return b""
    return path[len(directory) + 1 :] if path.startswith(directory + b"/") else None
