"""Telling systemd how the daemon is: the protocol of sd_notify(3), without a library.

Everything is a no-operation when the daemon was not started by systemd (no $NOTIFY_SOCKET).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

#: A status line is one line of `systemctl status`.
MAX_STATUS = 200


class Notifier:
    """Sends datagrams to systemd's socket; a lost one is no reason to fail.

    :param environ: read once: $NOTIFY_SOCKET, $WATCHDOG_USEC, $WATCHDOG_PID.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._status = ""
        self.watchdog_s = _watchdog(environ) if self._address else None

    def ready(self, status: str) -> None:
        """The sockets are bound; after a reload, the new configuration is in force."""
        self._send("READY=1", self._status_line(status))

    def status(self, status: str) -> None:
        """One line for `systemctl status`; sent only when it changed."""
        if status != self._status:
            self._send(self._status_line(status))

    def reloading(self) -> None:
        """To be followed by `ready`. The time stamp is what `Type=notify-reload` asks for."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, within_s: float) -> None:
        self._send("STOPPING=1", self._status_line("stopping"), f"EXTEND_TIMEOUT_USEC={int(within_s * 1_000_000)}")

    def alive(self) -> None:
        """Feed the watchdog; due at least every `watchdog_s` seconds, if that is not None."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _status_line(self, status: str) -> str:
        self._status = status
        return "STATUS=" + status.replace("\n", " ")[:MAX_STATUS]

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            # systemd is gone or busy; its own time limits deal with what it missed.
            return


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Half of what systemd allows between two signs of life, in seconds, if the watchdog is ours."""
    allowed = environ.get("WATCHDOG_USEC", "")
    owner = environ.get("WATCHDOG_PID", "")
    if not allowed.isascii() or not allowed.isdigit() or int(allowed) == 0 or (owner and owner != str(os.getpid())):
        return None
    return int(allowed) / 2 / 1_000_000
