"""`napctl events`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ..client import result_of
from ..invocation import Invocation, pass_invocation
from ..program import Command
from ..views import daemon

#: The notification of `events`.
EVENT = "event"


@click.command(
    cls=Command,
    examples=[
        ("napctl events", "what the daemon remembers"),
        ("napctl events --follow --type 'download.*'", "and what happens from now on"),
        ("napctl events --follow --json --since 1760000000000000", "goes on after the last id that was read"),
    ],
)
@click.option("--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option("--since", type=int, metavar="ID", help="Only events after this id.")
@click.option("--type", "pattern", metavar="GLOB", help="Only events whose name matches: download.*, *.lost")
@pass_invocation
def events(invocation: Invocation, follow: bool, since: int | None, pattern: str | None) -> int:
    """Print what happens: one line, or with --json one document, for each event."""
    output = invocation.output
    page = invocation.page()
    params = {"follow": follow, "since": since, "type": pattern}
    with invocation.connect(streaming=True) as client:
        request = client.send("events", {key: value for key, value in params.items() if value is not None})
        while True:
            incoming = client.receive(None if follow else invocation.timeout_s)
            if incoming.method == EVENT:
                raw = bytes(incoming.params)
                if invocation.json:
                    output.document(raw)
                else:
                    output.lines([daemon.event(msgspec.json.decode(raw, type=dict[str, Any]), page)])
            elif incoming.method is None and incoming.id == request:
                result_of(incoming)
                return 0
