"""`napctl cat`."""

from __future__ import annotations

import click

from napd.sizes import parse_size
from napd.wire.documents import BytesDocument

from ..choices import download_ids
from ..client import result_of
from ..invocation import Invocation, decode, pass_invocation
from ..parsing import parsed
from ..program import Command

#: The notification of `cat`.
BYTES = "bytes"


@click.command(
    cls=Command,
    examples=[
        ("napctl cat 3 | mpv -", "watch it while it is fetched"),
        ("napctl cat 3 --offset 1GiB > rest", "goes on where a reader stopped"),
    ],
)
@click.argument("id", type=click.IntRange(min=1), metavar="ID", shell_complete=download_ids)
@click.option("--offset", callback=parsed(parse_size), metavar="SIZE", help="Begin after so many bytes.")
@pass_invocation
def cat(invocation: Invocation, id: int, offset: int | None) -> int:
    """Write a download's bytes to standard output as they come, each verified, in order.

    From then on the download is fetched from its beginning to its end. Paused and waiting ones block until they go on;
    one that fails or is cancelled ends this with its exit status. Ctrl-C ends the reading only. With --json the bytes
    come as documents, in base64.
    """
    output = invocation.output
    with invocation.connect(streaming=True) as client:
        request = client.send("cat", {"id": id, "offset": offset or 0})
        while True:
            incoming = client.receive(None)
            if incoming.method == BYTES:
                if invocation.json:
                    output.document(bytes(incoming.params))
                else:
                    output.raw(decode(bytes(incoming.params), BytesDocument).data)
            elif incoming.method is None and incoming.id == request:
                result = result_of(incoming)
                if invocation.json:
                    output.document(result)
                return 0
