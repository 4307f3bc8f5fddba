"""`napctl search`."""

from __future__ import annotations

from typing import Any

import click

from napd.errors import Misuse
from napd.wire.documents import SearchDocument

from ..choices import user_names
from ..invocation import Invocation, decode, pass_invocation
from ..parsing import parse_size, parsed
from ..program import Command
from ..views import results

KINDS = ("audio", "video", "image", "document", "archive", "program")
ORDERS = ("best", "sources", "size", "name")
#: Marks a word that begins with a dash while click parses the line; no argument can hold a NUL.
_WORD = "\0"


class SearchCommand(Command):
    """Words that begin with one dash are exclusions, so there are no short options; `--x` is an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._marked(args))

    def _marked(self, args: list[str]) -> list[str]:
        valued = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        marked: list[str] = []
        is_value = False
        for position, arg in enumerate(args):
            if not is_value and arg == "--":
                return [*marked, "--", *args[position + 1 :]]
            excludes = arg.startswith("-") and not arg.startswith("--")
            marked.append(_WORD + arg if excludes and not is_value else arg)
            is_value = not is_value and arg in valued
        return marked


@click.command(
    cls=SearchCommand,
    context_settings={"help_option_names": ["--help"]},
    examples=[
        ("napctl search pink floyd --ext flac", "every word must match"),
        ("napctl search '\"dark side\"' moon -live", "a phrase in inner quotes; -word excludes"),
        ("napctl search 'lect*' --type video --min-size 100M --sort size", "wor* matches beginnings"),
        ("napctl search moon --json | jq -r '.results[].content'", "content ids, for scripts"),
    ],
)
@click.argument("words", nargs=-1, required=True)
@click.option("--ext", multiple=True, metavar="E", help="Only files with this extension; may be repeated.")
@click.option("--type", "kind", type=click.Choice(KINDS, case_sensitive=False), help="Only files of this type.")
@click.option("--min-size", callback=parsed(parse_size), metavar="S", help="At least so big: 10M, 1.5G, 10MiB.")
@click.option("--max-size", callback=parsed(parse_size), metavar="S", help="At most so big.")
@click.option("--min-bitrate", type=click.IntRange(min=0), metavar="K", help="At least so many kbit/s.")
@click.option("--user", metavar="U", shell_complete=user_names, help="Only what this user shares.")
@click.option("--sort", type=click.Choice(ORDERS, case_sensitive=False), default="best", help="best unless given.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, metavar="N", help="Results on a page (100).")
@click.option("--page", metavar="CURSOR", help="Go on where an earlier page ended.")
@pass_invocation
def search(invocation: Invocation, /, words: tuple[str, ...], **options: Any) -> int:
    """Find files by keywords.

    Results are numbered for `napctl get`. All WORDS must match; -WORD excludes, "a phrase" in inner quotes keeps its
    order, WOR* matches beginnings. There are no short options.
    """
    query = " ".join(word.removeprefix(_WORD).strip() for word in words).strip()
    if not query:
        raise Misuse("search: there is nothing to search for", "Give at least one word")
    params = {
        "query": query,
        "ext": [extension.lstrip(".").lower() for extension in options["ext"]],
        "type": options["kind"],
        "min_size": options["min_size"],
        "max_size": options["max_size"],
        "min_bitrate": options["min_bitrate"],
        "user": options["user"].removeprefix("@") if options["user"] else None,
        "sort": options["sort"],
        "limit": options["limit"],
        "page": options["page"],
    }
    result = invocation.ask("search", {key: value for key, value in params.items() if value not in (None, [])})
    status = invocation.show(result, SearchDocument, results.results)
    if not invocation.json:
        invocation.note(results.summary(decode(result, SearchDocument)))
    return status
