"""HOST:PORT in all its spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napd.errors import Misuse
from napd.net.dial import join_address, split_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("index.example:6699", "index.example", 6699),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)
    assert join_address(host, port) == text


@pytest.mark.parametrize(
    ("text", "host"), [("index.example", "index.example"), ("[2001:db8::1]", "2001:db8::1"), ("::1", "::1")]
)
def test_the_port_may_be_left_out_where_there_is_a_usual_one(text: str, host: str) -> None:
    assert split_address(text, 6699) == (host, 6699)
    with pytest.raises(Misuse):
        split_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":1",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:+1",
        "host:1x",
        "host:١",
        "[::1",
        "[::1]x",
        "[::1]1",
        "[]:1",
        "::1",
        "a:b:1",
    ],
)
def test_what_is_no_address_is_misuse(text: str) -> None:
    with pytest.raises(Misuse, match="is not HOST:PORT"):
        split_address(text)


@given(st.text(max_size=40), st.none() | st.just(6699))
def test_any_text_is_an_address_or_misuse(text: str, default: int | None) -> None:
    try:
        _, port = split_address(text, default)
    except Misuse:
        return
    assert 0 < port < 65536
