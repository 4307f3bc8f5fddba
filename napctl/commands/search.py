"""`napctl search`."""

from __future__ import annotations

from typing import Any

import click

from napd.wire.documents import SearchDocument

from ..invocation import Invocation, decode, pass_invocation
from ..views import results
from ..words import WordsCommand, filters, query

ORDERS = ("best", "sources", "size", "name")


@click.command(
    cls=WordsCommand,
    context_settings={"help_option_names": ["--help"]},
    examples=[
        ("napctl search pink floyd --ext flac", "every word must match"),
        ("napctl search '\"dark side\"' moon -live", "a phrase in inner quotes; -word excludes"),
        ("napctl search 'sun OR moon size>10M ext:flac'", "either word; filters among the words"),
        ("napctl search 'lect*' --type video --min-size 100M --sort size", "wor* matches beginnings"),
        ("napctl search moon --json | jq -r '.results[].content'", "content ids, for scripts"),
    ],
)
@filters
@click.option("--sort", type=click.Choice(ORDERS, case_sensitive=False), default="best", help="best unless given.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, metavar="N", help="Results on a page (100).")
@click.option("--page", metavar="CURSOR", help="Go on where an earlier page ended.")
@pass_invocation
def search(invocation: Invocation, /, words: tuple[str, ...], **options: Any) -> int:
    """Find files by keywords.

    Results are numbered for `napctl get`. All WORDS must match; -WORD excludes, "a phrase" in inner quotes keeps its
    order, WOR* matches beginnings, THIS OR THAT either. Among the words: ext:flac type:audio user:ann 'size>10M'
    'bitrate>=256'. There are no short options.
    """
    params = query(words, options, "search") | {"sort": options["sort"], "limit": options["limit"]}
    if options["page"] is not None:
        params["page"] = options["page"]
    result = invocation.ask("search", params)
    status = invocation.show(result, SearchDocument, results.results)
    if not invocation.json:
        invocation.note(results.summary(decode(result, SearchDocument)))
    return status
