"""Which control socket a command finds."""

from __future__ import annotations

import pytest

from napctl.sockets import INDEX, PEER, find_socket
from napd.errors import Unreachable
from napd.places import SOCKET_NAME, default_state_directories

ENVIRON = {"HOME": "/home/ann", "USER": "ann", "XDG_STATE_HOME": "/state"}


def test_the_option_wins_then_the_variable() -> None:
    assert find_socket("/a", PEER, {"NAPCTL_SOCKET": "/b"}) == "/a"
    assert find_socket(None, PEER, {"NAPCTL_SOCKET": "/b"}) == "/b"
    assert find_socket(None, INDEX, {"NAPCTL_SOCKET": "/b"}) == "/b"


@pytest.mark.parametrize("program", [PEER, INDEX])
def test_the_first_default_place_that_exists_is_taken(program: str) -> None:
    places = [f"{place}/{SOCKET_NAME}" for place in default_state_directories(program, ENVIRON)]
    for position, place in enumerate(places):
        assert find_socket(None, program, ENVIRON, set(places[position:]).__contains__) == place


def test_without_any_the_places_and_the_next_step_are_named() -> None:
    with pytest.raises(Unreachable) as caught:
        find_socket(None, PEER, ENVIRON, lambda path: False)
    assert "/state/nappeer/control.sock" in caught.value.message
    assert "--socket" in str(caught.value.hint)


def test_a_socket_of_the_other_daemon_is_pointed_out_but_never_taken() -> None:
    index = f"{default_state_directories(INDEX, ENVIRON)[0]}/{SOCKET_NAME}"
    with pytest.raises(Unreachable) as caught:
        find_socket(None, PEER, ENVIRON, lambda path: path == index)
    assert index in str(caught.value.hint)
