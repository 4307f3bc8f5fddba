"""`napctl index …`: against the index's own socket."""

from __future__ import annotations

import click

from napd.wire.index_documents import IndexStatusDocument

from ..invocation import Invocation, pass_invocation
from ..program import Command, Entry, LazyGroup
from ..sockets import INDEX
from ..views import daemon
from .people import show_users

index = LazyGroup(
    name="index",
    help="""Look after an index, over its own control socket.

    That is --socket, else $NAPCTL_SOCKET, else the first that exists of napindex's default places. Without a command
    it shows the status.""",
    entries={
        "status": Entry("index:status", "Peers, listings, searches, where it listens"),
        "users": Entry("index:users", "Who is online"),
    },
    default="status",
    examples=[("napctl index status", ""), ("napctl --socket /srv/index/control.sock index users", "")],
)


@click.command(cls=Command, examples=[("napctl index status", ""), ("napctl index status --json", "")])
@pass_invocation
def status(invocation: Invocation) -> int:
    """Show the index at a glance."""
    return invocation.show(invocation.ask("index.status", program=INDEX), IndexStatusDocument, daemon.index_status)


@click.command(cls=Command, examples=[("napctl index users", ""), ("napctl index users ann", "")])
@click.argument("words", nargs=-1)
@pass_invocation
def users(invocation: Invocation, words: tuple[str, ...]) -> int:
    """List who is online at this index."""
    return show_users(invocation, invocation.ask("index.users", {"words": " ".join(words)}, program=INDEX))
