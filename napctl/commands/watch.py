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
        elif invocation.live_output:
            with display(invocation.output.stdout, invocation.environ, transient=False) as bars:
                _each(client, request, lambda raw: bars.update(decode(raw, DownloadsDocument).downloads))
        else:
            changes = downloads.Changes()
            _each(client, request, lambda raw: invocation.output.lines(changes.lines(_downloads(raw))))
    return 0


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
