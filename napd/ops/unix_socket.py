"""UNIX sockets: the way is cleared for one, who is at its other end, and whether that is still there."""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from pathlib import Path
from typing import Any

from ..errors import CannotStart, ConfigurationError


def clear_way(path: Path) -> None:
    """Remove a socket that a daemon left behind when it was killed; never anything else, never one in use."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"control socket {path} cannot be used: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(
            f"{path} is in the way of the control socket and is not a socket", "Choose another --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CannotStart(
                f"control socket {path} is in use: {error.strerror}", "Choose another --socket"
            ) from error
        else:
            raise CannotStart(f"another daemon answers at the control socket {path}", "Choose another --socket")


def user_of(transport: Any) -> int | None:
    """The uid at the other end; None where the system does not tell it (the socket's mode guards then)."""
    handle = getattr(transport, "getHandle", None)
    if handle is None or not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = handle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def is_hung_up(descriptor: int) -> bool:
    """Whether the other end is closed in both directions."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
