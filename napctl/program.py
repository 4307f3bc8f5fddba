"""What every command of napctl has in common: options, examples in the help, loading on demand."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from msgspec import Struct

from .invocation import Invocation
from .parsing import parse_seconds, parsed

#: The environment variable by which the completion scripts ask (`napctl.shells`).
COMPLETE_VARIABLE = "_NAPCTL_COMPLETE"


class Entry(Struct, frozen=True):
    """A command that is imported only when it is used.

    :param place: `module:attribute`, the module under `napctl.commands`.
    :param summary: its line in the group's help.
    """

    place: str
    summary: str


def load(place: str) -> Any:
    """The attribute of a module of this package, imported now: `live:Bars`, `commands.search:search`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), attribute)


def common_options() -> list[click.Parameter]:
    """The options that are taken before and after any command."""
    return [
        click.Option(
            ["--socket"], metavar="PATH", expose_value=False, callback=_take_socket, help="The daemon's control socket."
        ),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_take_json, help="Print JSON, errors too."),
        click.Option(
            ["--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_take_quiet,
            help="No progress, no remarks, no echo of changes.",
        ),
    ]


def timeout_option() -> click.Option:
    """The global `--timeout`; after `wait` and `get` the word means something else."""
    return click.Option(
        ["--timeout"],
        metavar="S",
        expose_value=False,
        callback=_take_timeout,
        help="Seconds that the daemon may take to reply (30).",
    )


def _take_socket(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None and isinstance(ctx.obj, Invocation):
        ctx.obj.socket = value


def _take_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, Invocation):
        ctx.obj.json = True


def _take_quiet(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, Invocation):
        ctx.obj.quiet = True


def _take_timeout(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    seconds = parsed(parse_seconds)(ctx, param, value)
    if seconds == 0:
        raise click.BadParameter("0 leaves no time to answer", ctx, param)
    if seconds is not None and isinstance(ctx.obj, Invocation):
        ctx.obj.timeout_s = seconds


class Command(click.Command):
    """:param examples: command lines with a remark each, shown by `--help`."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params.extend(common_options())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(formatter, self.examples)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used.

    :param entries: the commands by name, in the order of the help.
    :param default: the command that runs when none is named.
    :param defaults_to: whether a first word that is no command's name belongs to the default command.
    """

    def __init__(
        self,
        *args: Any,
        entries: Mapping[str, Entry],
        default: str | None = None,
        defaults_to: Callable[[str], bool] = lambda word: False,
        examples: Sequence[tuple[str, str]] = (),
        **kwargs: Any,
    ) -> None:
        kwargs["invoke_without_command"] = True
        super().__init__(*args, **kwargs)
        self.entries = entries
        self.default = default
        self.examples = examples
        self._defaults_to = defaults_to
        self.params.extend(common_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command = load(f"commands.{entry.place}")
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.place} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if self.default is not None and self._defaults_to(name):
            return self.default, self.get_command(ctx, self.default), args
        if ctx.resilient_parsing:
            return None, None, args[1:]
        close = difflib.get_close_matches(name, self.entries)
        suggestion = f". Did you mean {' or '.join(close)}?" if close else ""
        raise click.UsageError(f"no such command {name!r}{suggestion}", ctx)

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is not None:
            return result
        command = self.get_command(ctx, self.default) if self.default is not None else None
        if command is None:
            raise NoCommand("a command is missing", ctx)
        with command.make_context(self.default, [], parent=ctx) as sub_context:
            return command.invoke(sub_context)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(formatter, self.examples)


class NoCommand(click.UsageError):
    """A group was named without a command: people are shown its help."""


def write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
    if not examples:
        return
    with formatter.section("Examples"):
        for command, remark in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{command}\n")
            if remark:
                formatter.write(f"{'':>{formatter.current_indent + 4}}{remark}\n")
