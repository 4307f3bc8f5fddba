"""Requests, news and tickets over a live session; against an index that is scripted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from napd.discovery.index_client import IndexAddress, IndexClient
from napd.discovery.interface import Holder
from napd.discovery.session import ANSWER_S
from napd.discovery.slot_news import LASTS_S
from napd.errors import Denied, Misuse, NapError, RemoteProtocolError, TimedOut, Unreachable
from napd.model import ContentId
from napd.net.identity import Identity, new_identity
from napd.wire import index as wire
from napd.wire.control import SearchParams
from napd.wire.ticket import LIFETIME_S, Claims
from tests.support.scripted_index import ScriptedIndex

from .conftest import ADDRESS, Rig

CONTENTS = [ContentId(f"{number:064x}") for number in range(1, 6)]
TIME = 1_700_000_000.0


def online(rig: Rig, **changes: Any) -> tuple[ScriptedIndex, IndexClient]:
    index = rig.index()
    client = rig.client()
    index.visit.log_in(**changes)
    return index, client


def outcome(work: Any) -> list[Any]:
    """Filled with the result or failure when there is one."""
    found: list[Any] = []
    deferred = work if isinstance(work, Deferred) else ensureDeferred(work)
    deferred.addBoth(found.append)
    return found


def failure_of(found: list[Any], kind: type[NapError]) -> NapError:
    (failure,) = found
    failure.trap(kind)
    error: NapError = failure.value
    return error


def result(number: int) -> wire.Result:
    return wire.Result(f"{number:064x}", f"{number}.txt", "share", number, 1, ("bob",), None)


# --- Requests ------------------------------------------------------------------------------------


def test_a_search_is_asked_as_it_was_put(rig: Rig) -> None:
    index, client = online(rig)
    query = SearchParams("blue -red", ext=("mp3",), type="audio", min_size=1, max_size=9, min_bitrate=128, user="bob",
                         sort="size", limit=7, page="next-please")  # fmt: skip
    outcome(client.search(query))
    assert index.visit.last(wire.Search) == wire.Search(
        1, "blue -red", ("mp3",), "audio", 1, 9, 128, "bob", "size", 7, "next-please"
    )


def test_the_parts_of_an_answer_are_put_together(rig: Rig) -> None:
    index, client = online(rig)
    found = outcome(client.search(SearchParams("x")))
    number = index.visit.last(wire.Search).id
    index.visit.say(wire.Results(number, (result(1), result(2)), last=False))
    assert found == []
    index.visit.say(wire.Results(number, (result(3),), True, True, "more", 4.5))
    assert found == [wire.Results(number, (result(1), result(2), result(3)), True, True, "more", 4.5)]


def test_answers_find_their_requests_in_any_order(rig: Rig) -> None:
    index, client = online(rig)
    first, second = outcome(client.search(SearchParams("a"))), outcome(client.users("b"))
    asked = index.visit.last(wire.Search).id, index.visit.last(wire.Users).id
    assert asked[0] != asked[1]
    row = wire.UserRow("bob", "a" * 52, 1, 2, 3.0)
    index.visit.say(wire.UserList(asked[1], (row,), last=False), wire.UserList(asked[1], (row,)))
    assert (first, second) == ([], [[row, row]])
    index.visit.say(wire.Results(asked[0], ()))
    assert first[0].results == ()


@pytest.mark.parametrize(
    ("code", "kind"), [("usage", Misuse), ("empty_query", Misuse), ("out_of_bounds", Misuse), ("limit", NapError)]
)
def test_a_refused_request_fails_with_the_index_s_words(rig: Rig, code: str, kind: type[NapError]) -> None:
    index, client = online(rig)
    found = outcome(client.search(SearchParams("x")))
    index.visit.say(wire.Error(code, "no\nway", index.visit.last(wire.Search).id))
    error = failure_of(found, kind)
    assert error.message == "no\\nway"
    assert error.code == ("usage" if kind is Misuse else code)


def test_an_answer_that_nobody_waits_for_is_ignored(rig: Rig) -> None:
    index, client = online(rig)
    index.visit.say(wire.Results(99, ()), wire.UserList(98, ()), wire.Error("limit", "x", 97), wire.Error("limit", "x"))
    found = outcome(client.search(SearchParams("x")))
    index.visit.say(wire.Results(index.visit.last(wire.Search).id, ()))
    assert len(found) == 1


def test_a_request_that_is_not_answered_times_out_and_a_late_answer_is_ignored(rig: Rig) -> None:
    index, client = online(rig)
    found = outcome(client.search(SearchParams("x")))
    for _ in range(int(ANSWER_S / 5) + 1):
        rig.pass_time(5)
        index.visit.say(wire.Pong())
    failure_of(found, TimedOut)
    index.visit.say(wire.Results(index.visit.last(wire.Search).id, ()))
    assert client.status().error is None


def test_an_endless_answer_is_given_up(rig: Rig) -> None:
    index, client = online(rig)
    found = outcome(client.users(""))
    number = index.visit.last(wire.Users).id
    rows = tuple([wire.UserRow("bob", "a" * 52, 1, 2, 3.0)] * 400)
    for _ in range(260):
        index.visit.say(wire.UserList(number, rows, last=False))
    failure_of(found, RemoteProtocolError)


def test_requests_fail_when_the_link_is_lost(rig: Rig) -> None:
    index, client = online(rig)
    found = [outcome(client.search(SearchParams("x"))), outcome(client.users(""))]
    index.visit.hang_up("shutdown")
    for one in found:
        failure_of(one, Unreachable)


def test_so_many_requests_and_no_more(rig: Rig) -> None:
    index, client = online(rig)
    found = [outcome(client.search(SearchParams("x"))) for _ in range(wire.MAX_OUTSTANDING + 1)]
    assert len(index.visit.all(wire.Search)) == wire.MAX_OUTSTANDING
    failure_of(found[-1], Unreachable)
    for number in range(1, wire.MAX_OUTSTANDING + 1):
        index.visit.say(wire.Results(number, ()))
    outcome(client.search(SearchParams("again")))
    assert index.visit.last(wire.Search).query == "again"


def test_offline_a_request_fails_at_once_and_says_why(rig: Rig) -> None:
    client = rig.client()
    with pytest.raises(Unreachable, match="does not answer") as told:
        client.search(SearchParams("x"))
    assert told.value.code == "index_offline"
    failure_of(outcome(client.users("")), Unreachable)


# --- Who holds what ------------------------------------------------------------------------------


def test_what_is_sought_is_told(rig: Rig) -> None:
    index, client = online(rig)
    client.seek(CONTENTS[:2])
    assert index.visit.last(wire.Seek).contents == tuple(CONTENTS[:2])
    source = wire.Source("a" * 52, "bob", ("192.0.2.1:6700",), partial=True)
    index.visit.say(wire.Sources(CONTENTS[0], (source,), 10, "name", everyone=True))
    (found,) = rig.told.found
    assert found.content == CONTENTS[0]
    assert found.holders == (Holder("a" * 52, "bob", ("192.0.2.1:6700",), True),)  # type: ignore[arg-type]
    assert (found.size, found.name, found.everyone) == (10, "name", True)


def test_what_nobody_seeks_any_more_is_not_told(rig: Rig) -> None:
    index, client = online(rig)
    client.seek(CONTENTS)
    client.unseek(CONTENTS[:1])
    assert index.visit.last(wire.Unseek).contents == tuple(CONTENTS[:1])
    # It was on its way.
    index.visit.say(wire.Sources(CONTENTS[0], ()), wire.Sources("f" * 64, ()), wire.Sources(CONTENTS[1], ()))
    assert [found.content for found in rig.told.found] == [CONTENTS[1]]


def test_seeking_twice_is_asked_once(rig: Rig) -> None:
    index, client = online(rig)
    client.seek(CONTENTS[:2])
    client.seek(CONTENTS[:3])
    assert [message.contents for message in index.visit.all(wire.Seek)] == [tuple(CONTENTS[:2]), (CONTENTS[2],)]
    client.unseek(["f" * 64])  # type: ignore[list-item]
    assert index.visit.all(wire.Unseek) == []


def test_what_was_sought_before_the_login_and_before_a_loss_is_sought_again(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    client.seek(CONTENTS[:2])
    assert not index.visit.all(wire.Seek)
    index.visit.log_in()
    assert index.visit.last(wire.Seek).contents == tuple(CONTENTS[:2])
    client.unseek(CONTENTS[:1])
    index.visit.hang_up("shutdown")
    client.seek(CONTENTS[3:4])
    rig.pass_time(1)
    index.visit.log_in()
    assert index.visit.last(wire.Seek).contents == (CONTENTS[1], CONTENTS[3])


def test_many_contents_are_sought_in_batches(rig: Rig) -> None:
    index, client = online(rig)
    many = [ContentId(f"{number:064x}") for number in range(1201)]
    client.seek(many)
    client.unseek(many)
    assert [len(message.contents) for message in index.visit.all(wire.Seek)] == [500, 500, 201]
    assert [len(message.contents) for message in index.visit.all(wire.Unseek)] == [500, 500, 201]


def test_the_index_s_dial_back_says_whether_others_can_reach_us(rig: Rig) -> None:
    index, client = online(rig)
    assert client.reachable() is None
    index.visit.say(wire.Reachable(("198.51.100.1:6700",)))
    assert client.reachable() is True
    index.visit.say(wire.Reachable(()))
    assert client.reachable() is False
    assert [event.fields["addresses"] for event in rig.events("index.reachable")] == [["198.51.100.1:6700"], []]


# --- Tickets -------------------------------------------------------------------------------------


def ticket(signer: Identity, peer: Identity, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "index": signer.id,
        "account": "a2",
        "user": "bob",
        "peer": peer.id,
        "groups": (),
        "issued": TIME,
        "expires": TIME + LIFETIME_S,
        "key": signer.id,
    }
    return signer.sign_ticket(msgspec.json.encode(Claims(**{**fields, **changes})))


BOB = new_identity()


def test_the_present_ticket_is_the_renewed_one_and_outlives_the_link(rig: Rig) -> None:
    index, client = online(rig)
    index.visit.say(wire.Ticket("ticket-2"))
    assert client.ticket() == "ticket-2"
    index.visit.hang_up("shutdown")
    assert client.ticket() == "ticket-2"


def test_others_are_believed_on_our_index_s_word_alone(rig: Rig) -> None:
    index, client = online(rig, time=TIME)
    assert client.check_ticket(ticket(index.identity, BOB), BOB.id).user == "bob"
    for wrong in (ticket(new_identity(), BOB), ticket(new_identity(), BOB, index=index.identity.id), "nonsense"):
        with pytest.raises(Denied) as told:
            client.check_ticket(wrong, BOB.id)
        assert told.value.code == "bad_ticket"


def test_tickets_are_judged_in_index_time_which_goes_on_without_the_index(rig: Rig) -> None:
    """Our own wall clock is three years behind, and does not matter."""
    index, client = online(rig, time=TIME)
    good = ticket(index.identity, BOB)
    index.visit.say(wire.Ping(TIME + LIFETIME_S))
    assert client.check_ticket(good, BOB.id)
    index.visit.hang_up("shutdown")
    index.close()
    rig.pass_time(290, 10)
    assert client.check_ticket(good, BOB.id)
    rig.pass_time(20, 10)
    with pytest.raises(Denied) as told:
        client.check_ticket(good, BOB.id)
    assert told.value.code == "expired"


def test_a_ticket_of_a_remembered_index_counts_before_it_is_online_again(rig: Rig) -> None:
    index = rig.index()
    rig.client().stop()
    rig.pass_time(1)
    index.close()
    client = rig.client()
    now = 1_600_000_000.0
    good = ticket(index.identity, BOB, issued=now, expires=now + LIFETIME_S)
    assert client.check_ticket(good, BOB.id).account == "a2"


def test_a_ticket_of_an_index_that_was_met_elsewhere_does_not_count(rig: Rig) -> None:
    index = rig.index("elsewhere.example:6699")
    rig.client([IndexAddress("elsewhere.example:6699")]).stop()
    rig.pass_time(1)
    client = rig.client([IndexAddress(ADDRESS)])
    with pytest.raises(Denied):
        client.check_ticket(ticket(index.identity, BOB, issued=1.6e9, expires=1.6e9 + LIFETIME_S), BOB.id)


# --- Parts of contents -----------------------------------------------------------------------------


def test_parts_are_offered_and_withdrawn_once_each(rig: Rig) -> None:
    index, client = online(rig)
    client.offer_parts(CONTENTS[:2])
    client.offer_parts(CONTENTS[:2])
    client.withdraw_parts(CONTENTS[:1])
    client.withdraw_parts(CONTENTS[:1])
    assert index.visit.all(wire.Partial) == [wire.Partial(tuple(CONTENTS[:2])), wire.Partial((), (CONTENTS[0],))]


def test_parts_offered_before_the_login_and_before_a_loss_are_offered_again(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    client.offer_parts(CONTENTS[:2])
    assert not index.visit.all(wire.Partial)
    index.visit.log_in()
    assert index.visit.last(wire.Partial).add == tuple(CONTENTS[:2])
    client.withdraw_parts(CONTENTS[:1])
    index.visit.hang_up("shutdown")
    client.offer_parts(CONTENTS[2:3])
    rig.pass_time(1)
    index.visit.log_in()
    assert index.visit.all(wire.Partial) == [wire.Partial((CONTENTS[1], CONTENTS[2]))]


def test_no_more_parts_are_offered_than_the_index_takes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PARTIALS", 2)
    index, client = online(rig)
    client.offer_parts(CONTENTS[:3])
    assert index.visit.last(wire.Partial).add == tuple(CONTENTS[:2])
    client.withdraw_parts(CONTENTS[:1])
    client.offer_parts(CONTENTS[2:4])
    assert index.visit.last(wire.Partial).add == (CONTENTS[2],)


def test_that_no_slot_is_free_is_told_in_each_session(rig: Rig) -> None:
    index, client = online(rig)
    client.slots_changed(0)
    rig.pass_time(LASTS_S)
    assert index.visit.all(wire.Slots) == [wire.Slots(0)]
    index.visit.hang_up("shutdown")
    rig.pass_time(1)
    index.visit.log_in()
    rig.pass_time(LASTS_S)
    assert index.visit.all(wire.Slots) == [wire.Slots(0)]
    client.slots_changed(2)
    client.stop()
