"""`napctl status`, `limit`, `version`, `reload`, `shutdown`."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from msgspec import Struct

from napd import __version__
from napd.wire.documents import DoneDocument, LimitDocument, StatusDocument, VersionDocument
from napd.wire.index_documents import IndexStatusDocument

from ..invocation import Invocation, decode, pass_invocation
from ..parsing import parse_rate, parsed
from ..program import Command
from ..views import daemon

#: A daemon ends within this time of being told.
SHUTDOWN_S = 10.0


class _Whose(Struct, frozen=True):
    """The index's status has its own id where a peer's has the state of its link."""

    index: Any = None


@click.command(cls=Command, examples=[("napctl status", ""), ("napctl status --json | jq -r .index.state", "")])
@pass_invocation
def status(invocation: Invocation) -> int:
    """Show the daemon at a glance: user, index link, shares, transfers, rates."""
    result = invocation.ask("status")
    if isinstance(decode(result, _Whose).index, str):
        return invocation.show(result, IndexStatusDocument, daemon.index_status)
    return invocation.show(result, StatusDocument, daemon.status)


@click.command(
    cls=Command,
    examples=[
        ("napctl limit", "shows the limits"),
        ("napctl limit --up 2MB/s --down none", "at once, and after restarts"),
        ("napctl limit --slots 8 --downloads 5", ""),
    ],
)
@click.option(
    "--up", callback=parsed(parse_rate), metavar="RATE", help="All uploads together: 500k, 10MB/s, 10MiB/s, none."
)
@click.option("--down", callback=parsed(parse_rate), metavar="RATE", help="All downloads together.")
@click.option("--slots", type=click.IntRange(0, 1000), metavar="N", help="Uploads at once.")
@click.option("--downloads", type=click.IntRange(0, 1000), metavar="N", help="Downloads at once.")
@pass_invocation
def limit(invocation: Invocation, /, **limits: float | None) -> int:
    """Show the limits, or set some, at once and for good."""
    params = {name: value for name, value in limits.items() if value is not None}
    result = invocation.ask("limit", params)
    show = invocation.show_change if params else invocation.show
    return show(result, LimitDocument, daemon.limits)


@click.command(cls=Command, examples=[("napctl version", "")])
@pass_invocation
def version(invocation: Invocation) -> int:
    """Show the versions of napctl and of the daemon, and the protocol between them."""
    answered = msgspec.json.decode(invocation.ask("version"), type=dict[str, Any])
    both = msgspec.json.encode(answered | {"client": __version__})
    return invocation.show(both, VersionDocument, daemon.version)


@click.command(cls=Command, examples=[("napctl reload", "after a change of the configuration file")])
@pass_invocation
def reload(invocation: Invocation) -> int:
    """Have the daemon read its configuration again."""
    return invocation.show_change(invocation.ask("reload"), DoneDocument, daemon.done)


@click.command(
    cls=Command,
    examples=[("napctl shutdown", ""), ("napctl --socket /run/napindex/control.sock shutdown", "stops an index")],
)
@pass_invocation
def shutdown(invocation: Invocation) -> int:
    """End the daemon cleanly; the queue is kept. Returns when the daemon has hung up."""
    with invocation.connect() as client:
        result = client.call("shutdown")
        client.until_closed(SHUTDOWN_S)
    return invocation.show_change(result, DoneDocument, daemon.done)
