"""`napctl share …`."""

from __future__ import annotations

import os
from typing import Any

import click
from msgspec import Struct

from napd.errors import Misuse
from napd.wire.documents import CheckDocument, DoneDocument, SharesDocument

from ..choices import share_names
from ..invocation import Invocation, decode, pass_invocation
from ..paths import absolute
from ..program import Command, Entry, LazyGroup
from ..views import daemon, shares

share = LazyGroup(
    name="share",
    help="""What this peer offers to others.

    Without a command it lists.""",
    entries={
        "list": Entry("share:list_", "Shares, what is in them, what is left out and why"),
        "add": Entry("share:add", "Share a directory"),
        "remove": Entry("share:remove", "Share it no more; the files stay"),
        "rescan": Entry("share:rescan", "Look for changes now"),
        "check": Entry("share:check", "Whether others can get a file, and why not"),
    },
    default="list",
    examples=[("napctl share", ""), ("napctl share add ~/Music", ""), ("napctl share check ~/Music/a.mp3", "")],
)


class _Named(Struct, frozen=True):
    """Tells a list of shares from a plain word."""

    shares: Any = None


def _show_change(invocation: Invocation, result: bytes) -> int:
    if decode(result, _Named).shares is not None:
        return invocation.show_change(result, SharesDocument, shares.shares)
    return invocation.show_change(result, DoneDocument, daemon.done)


@click.command(cls=Command, name="list", examples=[("napctl share list", ""), ("napctl share list --json", "")])
@pass_invocation
def list_(invocation: Invocation) -> int:
    """List the shares."""
    result = invocation.ask("share.list")
    status = invocation.show(result, SharesDocument, shares.shares)
    if not invocation.json and not decode(result, SharesDocument).shares:
        invocation.note("Nothing is shared. Share a directory with: napctl share add DIR")
    return status


@click.command(
    cls=Command,
    examples=[("napctl share add ~/Music", ""), ("napctl share add /mnt/disk2/music --name music2", "")],
)
@click.argument("directory", type=click.Path(file_okay=False), metavar="DIR")
@click.option("--name", metavar="N", help="What others see; the directory's own name unless given.")
@click.option("--to", "audience", multiple=True, metavar="WHO", help="everyone (unless given), a group, or @USER.")
@pass_invocation
def add(invocation: Invocation, directory: str, name: str | None, audience: tuple[str, ...]) -> int:
    """Share a directory, with all that is in it, now and after restarts.

    Hidden files and symbolic links are left out. The same directory again is no change. DIR=NAME does what --name does.
    """
    if name is None and "=" in directory and not os.path.exists(directory):
        # As the daemons' --share takes it.
        directory, _, name = directory.rpartition("=")
    if name == "":
        raise Misuse("share add: --name is empty", "Leave it out for the directory's own name")
    params: dict[str, object] = {"directory": absolute(directory, "share add"), "audience": list(audience)}
    if name is not None:
        params["name"] = name
    return _show_change(invocation, invocation.ask("share.add", params))


@click.command(cls=Command, examples=[("napctl share remove Music", "")])
@click.argument("name", shell_complete=share_names)
@pass_invocation
def remove(invocation: Invocation, name: str) -> int:
    """Share a directory no more; its files stay where they are."""
    return _show_change(invocation, invocation.ask("share.remove", {"name": name}))


@click.command(cls=Command, examples=[("napctl share rescan", "all shares"), ("napctl share rescan Music", "")])
@click.argument("name", required=False, shell_complete=share_names)
@pass_invocation
def rescan(invocation: Invocation, name: str | None) -> int:
    """Look for changes now instead of waiting to be told by the file system."""
    return _show_change(invocation, invocation.ask("share.rescan", {} if name is None else {"name": name}))


@click.command(cls=Command, examples=[("napctl share check ~/Music/a.mp3", "")])
@click.argument("path", type=click.Path(), metavar="PATH")
@pass_invocation
def check(invocation: Invocation, path: str) -> int:
    """Say whether others can get this file or directory, and why not."""
    result = invocation.ask("share.check", {"path": absolute(path, "share check")})
    return invocation.show(result, CheckDocument, shares.check)
