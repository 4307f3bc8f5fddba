"""magic-wormhole's own commands, direct over loopback; runs where magic-wormhole is installed.

``wormhole give URL CODE SOURCE`` offers the file and says so; ``wormhole take URL CODE TARGET`` takes it. What is timed
has the key exchange in it, and not the start of Python.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor as global_reactor
from wormhole import ipaddrs
from wormhole.cli import cli

from .turns import say, wait_for_end, wait_for_go

reactor: Any = global_reactor


def _stay_on_loopback() -> None:
    """By itself it listens everywhere, and offers every address of the machine."""
    listen = reactor.listenTCP
    reactor.listenTCP = lambda port, factory, backlog=50, interface="": listen(port, factory, backlog, "127.0.0.1")
    ipaddrs.find_addresses = lambda: ["127.0.0.1"]


def _run(url: str, *arguments: str) -> None:
    try:
        cli.wormhole(["--relay-url", url, "--transit-helper", "", *arguments])
    except SystemExit as ended:
        if ended.code:
            raise


def give(url: str, code: str, source: str) -> None:
    # It says its code once it is in touch with the mailbox; that is when the other may begin.
    cli.stderr = sys.stdout
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _run(url, "send", "--hide-progress", "--no-qr", "--code", code, source)
    wait_for_end()


def take(url: str, code: str, target: str) -> None:
    say("ready")
    wait_for_go()
    cli.stderr = open(os.devnull, "w")  # noqa: SIM115
    _run(url, "receive", "--hide-progress", "--accept-file", "--output-file", target, code)
    say("done")
    wait_for_end()


if __name__ == "__main__":
    _stay_on_loopback()
    if sys.argv[1] == "give":
        give(*sys.argv[2:])
    else:
        take(*sys.argv[2:])
