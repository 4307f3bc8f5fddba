"""Back-off by address: it grows, it ends, and it is remembered for whoever asks for whatever."""

from __future__ import annotations

from napd.peer.sources.addresses import FIRST_BACK_OFF_S, LAST_BACK_OFF_S, MAX_ADDRESSES, Addresses

A, B = "a.example:1", "b.example:2"


def test_waits_double_up_to_the_last_and_are_spread() -> None:
    addresses = Addresses()
    waits = []
    now = 0.0
    for _ in range(10):
        addresses.failed(A, now, 0.75)
        waits.append(addresses.retry_at([A]) - now)
        now += waits[-1]
    assert waits[:3] == [0.75 * FIRST_BACK_OFF_S * n for n in (1, 2, 4)]
    assert waits[-1] == 0.75 * LAST_BACK_OFF_S


def test_an_address_that_failed_does_not_keep_the_others_from_being_tried() -> None:
    addresses = Addresses()
    addresses.failed(A, 0.0, 1.0)
    assert addresses.usable([A, B], 0.5) == [B]
    assert addresses.retry_at([A, B]) == 0.0
    assert addresses.usable([A, B], FIRST_BACK_OFF_S) == [A, B]


def test_what_served_or_came_back_begins_anew() -> None:
    addresses = Addresses()
    for address in (A, A, A, B, B):
        addresses.failed(address, 0.0, 1.0)
    addresses.served(A)
    addresses.forgive([B])
    assert addresses.usable([A, B], 0.0) == [A, B]
    addresses.failed(A, 0.0, 1.0)
    assert addresses.retry_at([A]) == FIRST_BACK_OFF_S


def test_what_is_remembered_has_a_bound() -> None:
    addresses = Addresses()
    for number in range(MAX_ADDRESSES + 5):
        addresses.failed(str(number), 0.0, 1.0)
    assert addresses.usable(["0", "4"], 0.5) == ["0", "4"]
    assert addresses.usable(["5", str(MAX_ADDRESSES)], 0.5) == []
