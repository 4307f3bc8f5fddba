"""`napctl watch` and `napctl wait`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click
import msgspec
from msgspec import Struct

from napd.wire.documents import Download, DownloadsDocument

from ..choices import UNFINISHED, selectors
from ..client import Client, result_of
from ..invocation import Invocation, decode, pass_invocation
from ..parsing import parse_seconds, parsed
from ..program import Command
from ..views import downloads
from ..waiting import DOWNLOADS, display, wait_for, wait_status


class _Final(Struct, frozen=True):
    """The reply that ends a watch; `downloads` is not promised."""

    downloads: list[Download] | None = None


@click.command(
    cls=Command,
    examples=[
        ("napctl watch", "all that have not ended"),
        ("napctl watch 3,5", ""),
        ("napctl watch --json | jq .downloads[0].bytes_done", "a document per change"),
    ],
)
@click.argument("which", nargs=-1, metavar="[SELECTOR]...", shell_complete=selectors(UNFINISHED))
@pass_invocation
def watch(invocation: Invocation, which: tuple[str, ...]) -> int:
    """Show downloads progress, live, until the selected ones have ended.

    On a terminal as bars, elsewhere as a line per change. Ctrl-C ends the watching only.
    """
    with invocation.connect(streaming=True) as client:
        request = client.send("queue.watch", {"selectors": list(which)})
        if invocation.json:
            _each(client, request, invocation.output.document)
            return 0
        of_interest = _OfInterest(everything=bool(which))
        if invocation.live_output:
            with display(invocation.output.stdout, invocation.environ, transient=False) as bars:
                _each(client, request, lambda raw: bars.update(of_interest(raw)))
        else:
            changes = downloads.Changes()
            _each(client, request, lambda raw: invocation.output.lines(changes.lines(of_interest(raw))))
        if of_interest.nothing:
            invocation.note("Nothing to watch: no download is under way.")
    return 0


class _OfInterest:
    """The downloads of a watch's document that a person wants to see.

    If none were named, those that had ended before the watch began are left out.
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._ended: frozenset[int] | None = None
        self.nothing = True

    def __call__(self, raw: bytes) -> Sequence[Download]:
        rows = _downloads(raw)
        if self._ended is None:
            old = [] if self._everything else [row.id for row in rows if row.state in downloads.ENDED]
            self._ended = frozenset(old)
        kept = [row for row in rows if row.id not in self._ended]
        self.nothing = self.nothing and not kept
        return kept


def _downloads(raw: bytes) -> Sequence[Download]:
    return decode(raw, DownloadsDocument).downloads


def _each(client: Client, request: int, show: Callable[[bytes], None]) -> None:
    """Show every document of a watch once, the last state included."""
    last = b""
    for document in _documents(client, request):
        if document != last:
            show(document)
        last = document


def _documents(client: Client, request: int) -> Iterator[bytes]:
    while True:
        incoming = client.receive(None)
        if incoming.method == DOWNLOADS:
            yield bytes(incoming.params)
        elif incoming.method is None and incoming.id == request:
            final = result_of(incoming)
            if msgspec.json.decode(final, type=_Final).downloads is not None:
                yield final
            return


@click.command(
    cls=Command,
    examples=[
        ("napctl wait 3", ""),
        ("napctl wait all --timeout 3600 || echo 'not all done'", ""),
    ],
)
@click.argument("which", nargs=-1, required=True, metavar="SELECTOR...", shell_complete=selectors(UNFINISHED))
@click.option(
    "--timeout", "timeout_s", callback=parsed(parse_seconds), metavar="S", help="Seconds to wait, then exit 6."
)
@pass_invocation
def wait(invocation: Invocation, which: tuple[str, ...], timeout_s: float | None) -> int:
    """Block until all selected downloads have ended, and print them.

    Which ones is settled at the start. Paused and waiting downloads block. Exits with 0 if all are done, 1 if they
    failed or were cancelled (8 integrity, 9 no space), 7 if some are done, 6 if the time ran out.
    """
    with invocation.connect() as client:
        result = wait_for(invocation, client, which, timeout_s)
    partly = invocation.show_change(result, DownloadsDocument, downloads.queue)
    return partly or wait_status(_downloads(result))
