"""`napctl queue …` and `napctl sources`."""

from __future__ import annotations

import re

import click

from napd.wire.documents import DownloadsDocument, SourcesDocument

from ..choices import SELECTOR_WORDS, UNFINISHED, download_ids, selectors
from ..invocation import Invocation, decode, pass_invocation
from ..parsing import PLACES, parse_place, parsed
from ..program import Command, Entry, LazyGroup
from ..text import count_text, rate_text
from ..views import downloads
from .get import PRIORITIES

_SELECTOR = re.compile(r"@.*|[0-9][0-9,-]*|[0-9a-fA-F]{8,64}")


def is_selector(word: str) -> bool:
    return word in SELECTOR_WORDS or _SELECTOR.fullmatch(word) is not None


queue = LazyGroup(
    name="queue",
    help="""The downloads, in the order they will run; ended ones last.

    Without a command it lists. SELECTOR is an id (3), several (3,5-8), all, active, queued, waiting, paused, failed,
    done, @USER, or the beginning of a content id.""",
    entries={
        "list": Entry("queue:list_", "List downloads (what `queue` alone does)"),
        "pause": Entry("queue:pause", "Stop for now; free their slots"),
        "resume": Entry("queue:resume", "Queue paused ones again"),
        "retry": Entry("queue:retry", "Queue failed, cancelled or waiting ones again"),
        "cancel": Entry("queue:cancel", "Give up, and remove the partial data"),
        "priority": Entry("queue:priority", "urgent, high, normal or low"),
        "move": Entry("queue:move", "top, up, down, bottom or a position"),
        "clear": Entry("queue:clear", "Forget those that have ended"),
    },
    default="list",
    defaults_to=is_selector,
    examples=[
        ("napctl queue", "everything"),
        ("napctl queue failed --json", "the failed ones, for a script"),
        ("napctl queue pause all", ""),
        ("napctl queue move 7 top", ""),
    ],
)


def _change(invocation: Invocation, method: str, params: dict[str, object]) -> int:
    result = invocation.ask(method, params)
    status = invocation.show_change(result, DownloadsDocument, downloads.queue)
    if not invocation.json and not decode(result, DownloadsDocument).downloads:
        invocation.note("No download matches.")
    return status


@click.command(
    cls=Command,
    name="list",
    examples=[("napctl queue list", ""), ("napctl queue list active,waiting", ""), ("napctl queue @ann", "")],
)
@click.argument("which", nargs=-1, metavar="[SELECTOR]...", shell_complete=selectors())
@pass_invocation
def list_(invocation: Invocation, which: tuple[str, ...]) -> int:
    """List downloads: all, or those that SELECTOR names."""
    result = invocation.ask("queue.list", {"selectors": list(which)})
    status = invocation.show(result, DownloadsDocument, downloads.queue)
    if not invocation.json:
        invocation.note(_summary(decode(result, DownloadsDocument)))
    return status


def _summary(document: DownloadsDocument) -> str:
    rows = document.downloads
    if not rows:
        return "No downloads."
    rate = sum(row.bytes_per_s for row in rows if row.state == "active")
    pace = f", {rate_text(rate)}" if rate >= 1 else ""
    return f"{count_text(len(rows), 'download')}, {sum(row.state == 'active' for row in rows)} active{pace}."


@click.command(cls=Command, examples=[("napctl queue pause 3", ""), ("napctl queue pause 3,5-8 @ann", "")])
@click.argument("which", nargs=-1, required=True, metavar="SELECTOR...", shell_complete=selectors(UNFINISHED))
@pass_invocation
def pause(invocation: Invocation, which: tuple[str, ...]) -> int:
    """Pause downloads that have not ended."""
    return _change(invocation, "queue.pause", {"selectors": list(which)})


@click.command(cls=Command, examples=[("napctl queue resume paused", "")])
@click.argument("which", nargs=-1, required=True, metavar="SELECTOR...", shell_complete=selectors({"paused"}))
@pass_invocation
def resume(invocation: Invocation, which: tuple[str, ...]) -> int:
    """Queue paused downloads again."""
    return _change(invocation, "queue.resume", {"selectors": list(which)})


@click.command(cls=Command, examples=[("napctl queue retry failed", "")])
@click.argument(
    "which",
    nargs=-1,
    required=True,
    metavar="SELECTOR...",
    shell_complete=selectors({"failed", "cancelled", "waiting"}),
)
@pass_invocation
def retry(invocation: Invocation, which: tuple[str, ...]) -> int:
    """Queue failed, cancelled or waiting downloads again; verified chunks are kept."""
    return _change(invocation, "queue.retry", {"selectors": list(which)})


@click.command(cls=Command, examples=[("napctl queue cancel 4", ""), ("napctl queue cancel all", "")])
@click.argument("which", nargs=-1, required=True, metavar="SELECTOR...", shell_complete=selectors(UNFINISHED))
@pass_invocation
def cancel(invocation: Invocation, which: tuple[str, ...]) -> int:
    """Give downloads up and remove their partial data; a finished file is never touched."""
    return _change(invocation, "queue.cancel", {"selectors": list(which)})


@click.command(cls=Command, examples=[("napctl queue priority 7 urgent", "runs at once, in place of a lesser one")])
@click.argument(
    "which", nargs=-1, required=True, metavar="SELECTOR...", shell_complete=selectors(UNFINISHED, PRIORITIES)
)
@click.argument("level", type=click.Choice(PRIORITIES, case_sensitive=False))
@pass_invocation
def priority(invocation: Invocation, which: tuple[str, ...], level: str) -> int:
    """Say how soon downloads run."""
    return _change(invocation, "queue.priority", {"selectors": list(which), "priority": level})


@click.command(
    cls=Command, examples=[("napctl queue move 7 top", ""), ("napctl queue move 7 2", "to the second place")]
)
@click.argument("which", nargs=-1, required=True, metavar="SELECTOR...", shell_complete=selectors(UNFINISHED, PLACES))
@click.argument("place", callback=parsed(parse_place), metavar="top|up|down|bottom|POSITION")
@pass_invocation
def move(invocation: Invocation, which: tuple[str, ...], place: str) -> int:
    """Move downloads within their priority; positions count from 1."""
    return _change(invocation, "queue.move", {"selectors": list(which), "to": place})


@click.command(cls=Command, examples=[("napctl queue clear", "")])
@pass_invocation
def clear(invocation: Invocation) -> int:
    """Forget downloads that are done, failed or cancelled; their finished files stay."""
    result = invocation.ask("queue.clear")
    status = invocation.show_change(result, DownloadsDocument, downloads.queue)
    if not invocation.json:
        invocation.note(f"Forgotten: {count_text(len(decode(result, DownloadsDocument).downloads), 'download')}.")
    return status


@click.command(cls=Command, examples=[("napctl sources 3", ""), ("napctl sources 3 --json", "")])
@click.argument("id", type=click.IntRange(min=1), metavar="ID", shell_complete=download_ids)
@pass_invocation
def sources(invocation: Invocation, id: int) -> int:
    """Show who has a download's content, what each gives now, and why each is or isn't used."""
    result = invocation.ask("sources", {"id": id})
    status = invocation.show(result, SourcesDocument, downloads.sources)
    if not invocation.json and not decode(result, SourcesDocument).sources:
        invocation.note("No source is known now. A download looks for some while it is queued, active or waiting.")
    return status
