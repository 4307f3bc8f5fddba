"""`napctl get`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
import msgspec

from napd.errors import Misuse, exit_status
from napd.model import Priority
from napd.wire.documents import DownloadsDocument, PartlyDocument

from ..client import Client
from ..invocation import Invocation, Outcome, decode, pass_invocation
from ..parsing import parse_seconds, parsed
from ..paths import absolute
from ..program import Command
from ..views import downloads
from ..waiting import wait_for, wait_status

PRIORITIES = tuple(str(priority) for priority in Priority)
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")


@click.command(
    cls=Command,
    examples=[
        ("napctl get 3", "the third result of the last search"),
        ("napctl get 1,4-6 --priority high", "several of them, before others"),
        ("napctl get 9f86d081 --to /srv/media --name talk.mkv", "a content id, or 8 and more of its digits"),
        ("napctl get 3 --wait && echo complete", "exits when the download has ended"),
    ],
)
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option("--priority", type=click.Choice(PRIORITIES, case_sensitive=False), help="normal unless given.")
@click.option("--to", "directory", type=click.Path(file_okay=False), metavar="DIR", help="Where the files go.")
@click.option("--name", metavar="NAME", help="The file's name; for one result only.")
@click.option("--sequential", is_flag=True, help="From the beginning to the end, to be read while it comes.")
@click.option("--wait", "wait", is_flag=True, help="Block until all have ended; exits as `napctl wait` does.")
@click.option(
    "--timeout",
    "timeout_s",
    callback=parsed(parse_seconds),
    metavar="S",
    help="With --wait: seconds to wait, then exit 6.",
)
@pass_invocation
def get(
    invocation: Invocation,
    results: tuple[str, ...],
    priority: str | None,
    directory: str | None,
    name: str | None,
    sequential: bool,
    wait: bool,
    timeout_s: float | None,
) -> int:
    """Queue downloads.

    RESULT is a number of the last search (3, or 1,4-6), or a content id, or an unambiguous prefix of one (8 digits or
    more).
    """
    _check_name(name, results)
    if timeout_s is not None and not wait:
        raise Misuse(
            "get: --timeout after the command bounds --wait, which is not given",
            "To bound the daemon's reply put it first: napctl --timeout S get ...",
        )
    params: dict[str, object] = {"results": list(results)}
    if priority is not None:
        params["priority"] = priority
    if directory is not None:
        params["to"] = absolute(directory, "get: --to")
    if name is not None:
        params["name"] = name
    if sequential:
        params["sequential"] = True
    with invocation.connect() as client:
        queued = client.call("get", params)
        if not wait:
            return invocation.show_change(queued, DownloadsDocument, downloads.queue)
        return _wait(invocation, client, queued, timeout_s)


def _wait(invocation: Invocation, client: Client, queued: bytes, timeout_s: float | None) -> int:
    errors = decode(queued, Outcome).errors
    ids = [str(row.id) for row in decode(queued, DownloadsDocument).downloads]
    ended = decode(wait_for(invocation, client, ids, timeout_s), DownloadsDocument)
    document: DownloadsDocument | PartlyDocument = ended
    if errors:
        document = PartlyDocument(ended.downloads, list(errors))
    partly = invocation.show_change(msgspec.json.encode(document), DownloadsDocument, downloads.queue)
    status = wait_status(ended.downloads)
    return exit_status("partly") if partly and status == 0 else status


def _check_name(name: str | None, results: Sequence[str]) -> None:
    if name is None:
        return
    if "/" in name or not name:
        raise Misuse(f"get: --name {name!r} is no file name", "Give a name without a slash; --to says where it goes")
    if len(results) > 1 or any("," in result or _is_range(result) for result in results):
        raise Misuse("get: --name with several results", "One name is for one file: get them one by one")


def _is_range(result: str) -> bool:
    match = _RANGE.fullmatch(result)
    return match is not None and int(match[1]) != int(match[2])
