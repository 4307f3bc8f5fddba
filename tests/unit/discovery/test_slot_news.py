"""The index hears whether there is a free slot when that changes, and lasts, and not too often."""

from __future__ import annotations

from twisted.internet.task import Clock

from napd.discovery.slot_news import LASTS_S, SPACING_S, SlotNews


def test_a_change_is_told_once_it_has_lasted() -> None:
    clock, told = Clock(), list[int]()
    news = SlotNews(clock, told.append)
    news.changed(3)
    news.changed(0)
    clock.advance(LASTS_S - 1)
    news.changed(1)
    clock.advance(LASTS_S)
    assert told == []
    news.changed(0)
    clock.advance(LASTS_S)
    assert told == [0]


def test_not_more_often_than_every_thirty_seconds() -> None:
    clock, told = Clock(), list[int]()
    news = SlotNews(clock, told.append)
    news.changed(0)
    clock.advance(LASTS_S)
    news.changed(2)
    clock.advance(SPACING_S - 1)
    assert told == [0]
    clock.advance(1)
    assert told == [0, 2]
    assert not clock.getDelayedCalls()


def test_each_session_is_told_anew() -> None:
    clock, told = Clock(), list[int]()
    news = SlotNews(clock, told.append)
    news.changed(0)
    clock.advance(LASTS_S)
    news.begin()
    clock.advance(LASTS_S)
    assert told == [0, 0]
    news.begin()
    news.stop()
    assert not clock.getDelayedCalls()
