"""`napctl wish …`."""

from __future__ import annotations

from typing import Any

import click

from napd.wire.documents import FindsDocument, WishesDocument

from ..choices import wish_ids
from ..invocation import Invocation, decode, pass_invocation
from ..program import Command, Entry, LazyGroup
from ..views import wishes
from ..words import WordsCommand, filters, query

wish = LazyGroup(
    name="wish",
    help="""Searches that stand: be told when something comes.

    Without a command it lists.""",
    entries={
        "list": Entry("wish:list_", "What is wished for, and how much of it was found"),
        "add": Entry("wish:add", "Wish for something"),
        "remove": Entry("wish:remove", "Wish for it no more"),
        "found": Entry("wish:found", "What was found"),
    },
    default="list",
    examples=[
        ("napctl wish add moon river --ext flac", ""),
        ("napctl wish", ""),
        ("napctl events --follow --type wish.found", "be told as it comes"),
    ],
)


@click.command(
    cls=WordsCommand,
    context_settings={"help_option_names": ["--help"]},
    examples=[
        ("napctl wish add moon river --ext flac", "words and filters are those of a search"),
        ("napctl wish add '\"moon river\"' -live --min-bitrate 256 --get", "what comes is queued at once"),
    ],
)
@filters
@click.option("--get", "get", is_flag=True, help="Queue what is found, at most 100 files a day.")
@pass_invocation
def add(invocation: Invocation, /, words: tuple[str, ...], get: bool, **options: Any) -> int:
    """Wish for something: a search that stands until it is removed.

    What is there already is found at once, what comes later as it comes, also while this peer is away. The event
    wish.found tells of each file once. The same wish again is no change, but for --get.
    """
    params = query(words, options, "wish add")
    if get:
        params["get"] = True
    result = invocation.ask("wish.add", params)
    status = invocation.show_change(result, WishesDocument, wishes.wishes)
    if not invocation.json:
        for row in decode(result, WishesDocument).wishes:
            if row.found:
                invocation.note(f"See what was found with: napctl wish found {row.id}")
            elif row.state == "offline":
                invocation.note(
                    "Kept. There is no link to an index now (see napctl status); it hears of it when there is."
                )
    return status


@click.command(cls=Command, name="list", examples=[("napctl wish list", ""), ("napctl wish list --json", "")])
@pass_invocation
def list_(invocation: Invocation) -> int:
    """List the wishes."""
    result = invocation.ask("wish.list")
    status = invocation.show(result, WishesDocument, wishes.wishes)
    if not invocation.json and not decode(result, WishesDocument).wishes:
        invocation.note("Nothing is wished for. Wish with: napctl wish add WORDS")
    return status


@click.command(cls=Command, examples=[("napctl wish remove 3", ""), ("napctl wish remove 1,4-6", "several")])
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=wish_ids)
@pass_invocation
def remove(invocation: Invocation, ids: tuple[str, ...]) -> int:
    """Wish for it no more, and forget what was found for it; downloads stay.

    ID is a wish's number (3, or 1,4-6), or all. Prints the wishes that are left.
    """
    return invocation.show_change(
        invocation.ask("wish.remove", {"selectors": list(ids)}), WishesDocument, wishes.wishes
    )


@click.command(
    cls=Command,
    examples=[
        ("napctl wish found", "for all wishes, the latest last"),
        ("napctl wish found 3 --json | jq -r '.finds[].content' | xargs napctl get", "queue all that was found"),
    ],
)
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=wish_ids)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, metavar="N", help="The latest so many (100).")
@pass_invocation
def found(invocation: Invocation, ids: tuple[str, ...], limit: int) -> int:
    """Show what was found for these wishes, or for all.

    `napctl get` takes the content ids, or the first eight and more of their digits.
    """
    result = invocation.ask("wish.found", {"selectors": list(ids), "limit": limit})
    status = invocation.show(result, FindsDocument, wishes.finds)
    if not invocation.json and not decode(result, FindsDocument).finds:
        invocation.note("Nothing was found yet.")
    return status
