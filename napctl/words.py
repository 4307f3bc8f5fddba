"""What `search` and `wish add` take alike: words, filters, and a dash that excludes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from napd.errors import Misuse
from napd.sizes import parse_size

from .choices import user_names
from .parsing import parsed
from .program import Command

KINDS = ("audio", "video", "image", "document", "archive", "program")
#: Marks a word that begins with a dash while click parses the line; no argument can hold a NUL.
_WORD = "\0"

F = TypeVar("F", bound=Callable[..., Any])


class WordsCommand(Command):
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


def filters(command: F) -> F:
    """The words and the filters, in this order in the help."""
    decorators = [
        click.argument("words", nargs=-1, required=True),
        click.option("--ext", multiple=True, metavar="E", help="Only files with this extension; may be repeated."),
        click.option("--type", "kind", type=click.Choice(KINDS, case_sensitive=False), help="Only files of this type."),
        click.option("--min-size", callback=parsed(parse_size), metavar="S", help="At least so big: 10M, 1.5G, 10MiB."),
        click.option("--max-size", callback=parsed(parse_size), metavar="S", help="At most so big."),
        click.option("--min-bitrate", type=click.IntRange(min=0), metavar="K", help="At least so many kbit/s."),
        click.option("--user", metavar="U", shell_complete=user_names, help="Only what this user shares."),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def query(words: Sequence[str], options: Mapping[str, Any], what_for: str) -> dict[str, Any]:
    """The words joined, and those of the filters that were given.

    :param what_for: the verb of the message, as in "nothing to search for". :raises Misuse: there are no words.
    """
    text = " ".join(word.removeprefix(_WORD).strip() for word in words).strip()
    if not text:
        raise Misuse(f"{what_for}: there is nothing to {what_for.split()[0]} for", "Give at least one word")
    given = {
        "query": text,
        "ext": [extension.lstrip(".").lower() for extension in options["ext"]],
        "type": options["kind"],
        "min_size": options["min_size"],
        "max_size": options["max_size"],
        "min_bitrate": options["min_bitrate"],
        "user": options["user"].removeprefix("@") if options["user"] else None,
    }
    return {key: value for key, value in given.items() if value not in (None, [])}
