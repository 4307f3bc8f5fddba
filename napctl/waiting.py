"""Waiting for downloads to end: the way that `wait` and `get --wait` share, and the exit status it comes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from napd.errors import exit_status
from napd.wire.documents import Download, DownloadsDocument

from .client import Client, result_of
from .invocation import Invocation, decode
from .program import load

#: The notification of `queue.watch`.
DOWNLOADS = "downloads"


class Display(Protocol):
    """What shows progress: `live.Bars`."""

    def update(self, downloads: Sequence[Download]) -> None: ...


class _Hidden:
    def update(self, downloads: Sequence[Download]) -> None:
        """Nobody looks."""


def display(stream: TextIO, environ: Mapping[str, str], *, transient: bool) -> AbstractContextManager[Display]:
    """Bars on a terminal; rich is imported only now."""
    bars: AbstractContextManager[Display] = load("live:Bars")(stream, environ, transient=transient)
    return bars


def wait_for(
    invocation: Invocation,
    client: Client,
    selectors: Sequence[str],
    timeout_s: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Block until all selected downloads have ended; the daemon's document of them.

    Progress is shown on standard error if that is a terminal.

    :param timeout_s: None waits for ever. The daemon keeps this time; a daemon that is stuck is given the reply's time
        on top.
    :raises TimedOut:
    """
    shown = invocation.live_progress
    if shown:
        client.send("queue.watch", {"selectors": list(selectors)})
    wait_id = client.send("queue.wait", {"selectors": list(selectors), "timeout_s": timeout_s})
    deadline = None if timeout_s is None else clock() + timeout_s + invocation.timeout_s
    hidden: AbstractContextManager[Display] = nullcontext(_Hidden())
    progress = display(invocation.output.stderr, invocation.environ, transient=True) if shown else hidden
    with progress as bars:
        while True:
            incoming = client.receive(None if deadline is None else max(0.0, deadline - clock()))
            if incoming.method == DOWNLOADS:
                bars.update(decode(bytes(incoming.params), DownloadsDocument).downloads)
            elif incoming.method is None and incoming.id == wait_id:
                return result_of(incoming)


def wait_status(downloads: Sequence[Download]) -> int:
    """0 if all are done; 1, or 8 or 9 for those causes, if none is; 7 if some are."""
    failed = [row for row in downloads if row.state != "done"]
    if not failed:
        return 0
    if any(row.state == "done" for row in downloads):
        return exit_status("partly")
    codes = {row.error.code if row.state == "failed" and row.error is not None else "failed" for row in failed}
    only = codes.pop() if len(codes) == 1 else "failed"
    return exit_status(only) if only in ("integrity", "no_space") else exit_status("failed")
