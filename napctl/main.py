"""The entry point: global options, the table of commands, and errors as exit statuses."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

import click

from napd import __version__
from napd.errors import Misuse, NapError, exit_status

from .invocation import Invocation
from .output import Output, ReaderGone
from .program import COMPLETE_VARIABLE, Entry, LazyGroup, NoCommand, load, timeout_option

cli = LazyGroup(
    name="napctl",
    help="""Control nappeer and napindex over their local sockets.

    The socket is --socket, else $NAPCTL_SOCKET, else the first that exists of the default places. --json and the other
    options are taken after the command, too.""",
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    entries={
        "status": Entry("daemon:status", "The daemon at a glance"),
        "search": Entry("search:search", "Find files by keywords"),
        "get": Entry("get:get", "Queue downloads"),
        "queue": Entry("queue:queue", "List, pause, resume, retry, cancel, order downloads"),
        "sources": Entry("queue:sources", "Who has a download's content, and what each gives"),
        "cat": Entry("cat:cat", "A download's bytes on standard output, as they come"),
        "watch": Entry("watch:watch", "Live progress of downloads"),
        "wait": Entry("watch:wait", "Block until downloads have ended"),
        "uploads": Entry("people:uploads", "What others get from here"),
        "share": Entry("share:share", "List, add, remove, rescan, check shares"),
        "wish": Entry("wish:wish", "Be told when something comes"),
        "users": Entry("people:users", "Who is online"),
        "whoami": Entry("people:whoami", "Who this peer is to others"),
        "limit": Entry("daemon:limit", "Show or set rates, slots and downloads at once"),
        "events": Entry("events:events", "What happens, as it happens"),
        "doctor": Entry("doctor:doctor", "Look for what is wrong"),
        "index": Entry("index:index", "Look after an index"),
        "reload": Entry("daemon:reload", "Have the daemon read its configuration again"),
        "shutdown": Entry("daemon:shutdown", "End the daemon cleanly"),
        "version": Entry("daemon:version", "Versions of napctl and the daemon"),
        "completion": Entry("completion:completion", "Completion for bash, zsh, fish"),
    },
    examples=[
        ("napctl search moon --type audio", ""),
        ("napctl get 1-3 --wait", "the first three results, until they are here"),
        ("napctl watch", ""),
        ("napctl COMMAND --help", "each command with examples"),
    ],
)
cli.params.append(timeout_option())
cli.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda ctx, param, value: _show_version(ctx) if value else None,
        help="Show napctl's own version and exit.",
    )
)


def _show_version(ctx: click.Context) -> None:
    if isinstance(ctx.obj, Invocation) and not ctx.resilient_parsing:
        if ctx.obj.json:
            ctx.obj.output.document(b'{"schema":1,"client":"%s"}' % __version__.encode())
        else:
            ctx.obj.output.lines([f"napctl {__version__}"])
        ctx.exit()


def main() -> None:
    """The console script."""
    with open(os.devnull, "w") as nowhere:  # for `napctl … >&-`
        status = run(sys.argv[1:], os.environ, sys.stdout or nowhere, sys.stderr or nowhere)
    sys.exit(status)


def run(
    args: Sequence[str],
    environ: Mapping[str, str],
    stdout: TextIO,
    stderr: TextIO,
    now: Callable[[], float] = time.time,
) -> int:
    """Run one command line; the exit status.

    :param now: seconds since 1970, for ages.
    """
    output = Output(stdout, stderr)
    # Known before the line is parsed, so that a line which cannot be parsed is answered in JSON too.
    invocation = Invocation(output, environ, now, json="--json" in _before_dashes(args))
    if COMPLETE_VARIABLE in environ:
        output.text(load("shells:answer")(cli, environ[COMPLETE_VARIABLE], invocation))
        return 0
    try:
        return _execute(args, invocation)
    except (ReaderGone, BrokenPipeError):
        output.abandon()
        return 0
    except KeyboardInterrupt:
        error = NapError("interrupted", "The daemon goes on with what it was asked", "interrupted")
    except click.UsageError as mistake:
        if isinstance(mistake, NoCommand) and mistake.ctx is not None and not invocation.json:
            output.say(mistake.ctx.get_help())
            return exit_status("usage")
        error = _usage(mistake)
    except NapError as failure:
        error = failure
    except OSError as failure:
        error = NapError(str(failure))
    return _report(error, invocation)


def _execute(args: Sequence[str], invocation: Invocation) -> int:
    try:
        with cli.make_context("napctl", list(args), obj=invocation) as ctx:
            status = cli.invoke(ctx)
    except click.exceptions.Exit as asked:
        return asked.exit_code
    return status if isinstance(status, int) else 0


def _report(error: NapError, invocation: Invocation) -> int:
    output = invocation.output
    try:
        output.error(error, json=invocation.json and not output.closed)
    except ReaderGone:
        pass
    except NapError as failure:
        output.error(failure, json=False)
    return exit_status(error.code)


def _before_dashes(args: Sequence[str]) -> Sequence[str]:
    return args[: args.index("--")] if "--" in args else args


def _usage(mistake: click.UsageError) -> Misuse:
    """click's complaint in this program's form, the command as the subject."""
    path = mistake.ctx.command_path if mistake.ctx is not None else "napctl"
    subject = path.removeprefix("napctl").strip()
    message = mistake.format_message().strip()
    cause = message[:1].lower() + message[1:]
    return Misuse(f"{subject}: {cause}" if subject else cause, f"See {path} --help")
