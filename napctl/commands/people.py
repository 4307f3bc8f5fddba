"""`napctl users`, `uploads`, `whoami`."""

from __future__ import annotations

import click

from napd.wire.documents import UploadsDocument, UsersDocument, WhoamiDocument

from ..invocation import Invocation, decode, pass_invocation
from ..program import Command
from ..views import people


@click.command(cls=Command, examples=[("napctl users", ""), ("napctl users ann", "whose name has this in it")])
@click.argument("words", nargs=-1)
@pass_invocation
def users(invocation: Invocation, words: tuple[str, ...]) -> int:
    """List who is online."""
    result = invocation.ask("users", {"words": " ".join(words)})
    return show_users(invocation, result)


def show_users(invocation: Invocation, result: bytes) -> int:
    status = invocation.show(result, UsersDocument, people.users)
    if not invocation.json and not decode(result, UsersDocument).users:
        invocation.note("Nobody.")
    return status


@click.command(cls=Command, examples=[("napctl uploads", "")])
@pass_invocation
def uploads(invocation: Invocation) -> int:
    """Show what others get from here, and who waits at which place."""
    result = invocation.ask("uploads")
    status = invocation.show(result, UploadsDocument, people.uploads)
    if not invocation.json and not decode(result, UploadsDocument).uploads:
        invocation.note("No uploads.")
    return status


@click.command(cls=Command, examples=[("napctl whoami", "")])
@pass_invocation
def whoami(invocation: Invocation) -> int:
    """Show who this peer is to others."""
    return invocation.show(invocation.ask("whoami"), WhoamiDocument, people.whoami)
