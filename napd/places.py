"""Where daemons keep their state unless told otherwise, and so where `napctl` finds their sockets. Pure.

A daemon takes the first place of the list. `napctl` looks at all of them, in this order, since it does not know how the
daemon was started: by hand, as a user's service, or from the units in docs/deploy/systemd, whose `nappeer@USER` keeps
its state in /var/lib/nappeer/USER.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

#: The control socket's name in a state directory.
SOCKET_NAME = "control.sock"
#: Held (flock) by the daemon that has the state directory.
LOCK_NAME = "lock"


def default_state_directories(program: str, environ: Mapping[str, str]) -> list[PurePosixPath]:
    """Most specific first; none twice. `program` is ``nappeer`` or ``napindex``.

    systemd may put several directories into $STATE_DIRECTORY, by colons: the first is the daemon's.
    """
    places = []
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        places.append(PurePosixPath(given))
    # The XDG specification: a relative path in such a variable is to be ignored.
    if (state_home := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        places.append(PurePosixPath(state_home) / program)
    if home := environ.get("HOME"):
        places.append(PurePosixPath(home) / ".local" / "state" / program)
    system = PurePosixPath("/var/lib") / program
    if program == "nappeer" and (user := environ.get("USER") or environ.get("LOGNAME")) and "/" not in user:
        places.append(system / user)
    places.append(system)
    return list(dict.fromkeys(places))
