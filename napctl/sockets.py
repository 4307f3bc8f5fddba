"""Which control socket a command talks to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from napd.errors import Unreachable
from napd.places import SOCKET_NAME, default_state_directories

PEER = "nappeer"
INDEX = "napindex"
VARIABLE = "NAPCTL_SOCKET"


def find_socket(
    given: str | None,
    program: str,
    environ: Mapping[str, str],
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """`--socket`, else $NAPCTL_SOCKET, else the first of the program's default places that exists.

    :raises Unreachable: if there is none.
    """
    named = given or environ.get(VARIABLE)
    if named:
        return named
    places = _places(program, environ)
    for place in places:
        if exists(place):
            return place
    raise Unreachable(f"{program}: no control socket at {' or '.join(places)}", _next_step(program, environ, exists))


def _places(program: str, environ: Mapping[str, str]) -> list[str]:
    return [str(place / SOCKET_NAME) for place in default_state_directories(program, environ)]


def _next_step(program: str, environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    start = f"Start it (twistd {program}), or name its socket with --socket or ${VARIABLE}"
    other = INDEX if program == PEER else PEER
    found = next(filter(exists, _places(other, environ)), None)
    return f"{start}; {other}'s is {found}" if found else start
