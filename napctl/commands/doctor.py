"""`napctl doctor`: what is wrong, and what to do about it, from what the daemon says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click
import msgspec
from msgspec import Struct

from napd import __version__
from napd.errors import NapError, exit_status
from napd.wire.control import PROTOCOL
from napd.wire.documents import SharesDocument, StatusDocument, VersionDocument

from ..invocation import Invocation, decode, pass_invocation
from ..page import Page
from ..program import Command
from ..sockets import PEER, find_socket
from ..text import count_text, size_text, visible

#: Free space in the state directory below which the journal may soon fail to grow.
LITTLE_SPACE = 1_000_000_000
HARDLY_SPACE = 100_000_000

#: What to do about a link that is not up; otherwise there is nobody to be reached.
_LINK_HINTS = {"refused": "Mend that and say napctl reload", "connecting": "Wait a moment"}
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Check(Struct, frozen=True):
    """`state`: ok, warn (it works, but not as well as it could), fail."""

    check: str
    state: str
    message: str
    hint: str | None = None


class DoctorDocument(Struct, frozen=True):
    checks: list[Check]
    schema: int = 1


class _Whose(Struct, frozen=True):
    index: Any = None


@click.command(
    cls=Command, examples=[("napctl doctor", ""), ("napctl doctor --json | jq '.checks[]|select(.state!=\"ok\")'", "")]
)
@pass_invocation
def doctor(invocation: Invocation) -> int:
    """Look for what is wrong: socket, daemon, index link, reachability, shares, failed downloads, disk space.

    Exits with 0 if nothing failed, 1 if something did, 3 if the daemon is not reachable.
    """
    checks: list[Check] = []
    status = 0
    try:
        checks.extend(_examine(invocation))
    except NapError as error:
        checks.append(Check("daemon", "fail", error.message, error.hint))
        status = exit_status(error.code)
    if status == 0 and any(check.state == "fail" for check in checks):
        status = exit_status("failed")
    invocation.show(msgspec.json.encode(DoctorDocument(checks)), DoctorDocument, view)
    return status


def view(document: DoctorDocument, page: Page) -> list[str]:
    lines = []
    for row in document.checks:
        lines.append(
            f"{page.paint(f'{row.state:<4}', _COLOURS.get(row.state))}  {row.check:<9}  {visible(row.message)}"
        )
        if row.hint is not None:
            lines.append(page.paint(f"{'':<17}{visible(row.hint)}", "dim"))
    return lines


def _examine(invocation: Invocation) -> list[Check]:
    socket = find_socket(invocation.socket, PEER, invocation.environ)
    checks = []
    with invocation.connect() as client:
        checks.append(Check("socket", "ok", socket))
        checks.append(_daemon(decode(client.call("version"), VersionDocument)))
        answer = client.call("status")
        if not isinstance(decode(answer, _Whose).index, str):
            checks.extend(_peer(decode(answer, StatusDocument)))
            checks.extend(_shares(decode(client.call("share.list"), SharesDocument)))
    checks.append(_disk(os.path.dirname(os.path.abspath(socket))))
    return checks


def _daemon(version: VersionDocument) -> Check:
    if version.protocol != PROTOCOL:
        found = f"speaks control protocol {version.protocol}, napctl {PROTOCOL}"
        return Check("daemon", "fail", found, "Install the same version of both, and restart the daemon")
    if version.daemon != __version__:
        found = f"version {version.daemon}, napctl {__version__}"
        return Check("daemon", "warn", found, "Restart the daemon if it was upgraded")
    return Check("daemon", "ok", f"version {version.daemon}")


def _peer(status: StatusDocument) -> Iterator[Check]:
    link = status.index
    if link.state == "online":
        yield Check("index", "ok", f"online at {link.address} as {status.user}")
    else:
        state = "warn" if link.state == "connecting" else "fail"
        cause = f": {link.error}" if link.error else f", {link.address}"
        hint = _LINK_HINTS.get(link.state, "Check --index and that napindex runs there")
        yield Check("index", state, f"{link.state}{cause}", f"{hint}; transfers under way go on without it")
    if status.reachable:
        yield Check("reachable", "ok", f"others can dial {status.listen}")
    elif status.reachable is None:
        yield Check("reachable", "warn", "nobody has tried yet", "The index tries once the link is up")
    else:
        hint = "Open or forward this port, or name the way in with --advertise HOST:PORT; others cannot get your files"
        yield Check("reachable", "warn", f"the index cannot dial {status.listen}", hint)
    failed = status.downloads.failed
    if failed:
        hint = "See why with napctl queue failed; try again with napctl queue retry failed"
        yield Check("downloads", "warn", f"{count_text(failed, 'download')} failed", hint)
    else:
        yield Check("downloads", "ok", "none failed")


def _shares(document: SharesDocument) -> Iterator[Check]:
    if not document.shares:
        yield Check("shares", "warn", "nothing is shared", "napctl share add DIR")
    for share in document.shares:
        if share.state == "unavailable":
            found = f"{share.name}: {share.directory} is missing"
            yield Check("shares", "fail", found, "Mount it or remove the share; its hashes are kept")
            continue
        skipped = max(share.skipped_count, len(share.skipped))
        hashing = f", {share.hashing:,} to hash" if share.hashing else ""
        found = f"{share.name}: {count_text(share.listings, 'file')}, {size_text(share.bytes)}{hashing}"
        if skipped:
            yield Check("shares", "warn", f"{found}, {skipped:,} skipped", "See why with napctl share list")
        else:
            yield Check("shares", "ok", found)


def _disk(state: str) -> Check:
    try:
        space = os.statvfs(state)
    except OSError as error:
        return Check("disk", "warn", f"{state}: {error.strerror}")
    free = space.f_bavail * space.f_frsize
    found = f"{size_text(free)} free in {state}"
    if free < HARDLY_SPACE:
        return Check("disk", "fail", found, "The queue's journal needs room: free some")
    return Check("disk", "warn" if free < LITTLE_SPACE else "ok", found, "Free some" if free < LITTLE_SPACE else None)
