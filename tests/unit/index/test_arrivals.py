"""Who connects too often: each address for itself, and not more of them are remembered than there is room for."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from napd.index import arrivals
from napd.index.addresses import origin
from napd.index.arrivals import Arrivals


def test_each_address_has_its_own_allowance() -> None:
    clock = Clock()
    coming = Arrivals(clock, 3, 2.0)
    assert [coming.one_more("a") for _ in range(4)] == [True, True, True, False]
    assert coming.one_more("b")
    clock.advance(0.5)
    assert [coming.one_more("a") for _ in range(2)] == [True, False]


def test_those_that_came_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MOST_REMEMBERED", 2)
    coming = Arrivals(Clock(), 1, 1.0)
    assert all(coming.one_more(host) for host in "ab")
    assert not coming.one_more("a")
    assert coming.one_more("c")
    assert not coming.one_more("a")
    assert coming.one_more("b")


@pytest.mark.parametrize(
    ("host", "counts_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nowhere", "nowhere"),
    ],
)
def test_who_counts_as_one(host: str, counts_as: str) -> None:
    assert origin(host) == counts_as
