"""Finding the index, trusting it, staying logged in, coming back; against an index that is scripted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from napd.discovery.index_client import FIRST_BACK_OFF_S, LAST_BACK_OFF_S, WRONG_IDENTITY_S, IndexAddress
from napd.discovery.interface import CataloguePosition, CatalogueStep, LinkState
from napd.discovery.session import LOGIN_S
from napd.errors import Unreachable
from napd.net.identity import new_identity
from napd.wire import index as wire
from napd.wire.catalogue import Entry
from napd.wire.line import MAX_LINE_BYTES
from tests.support.scripted_index import welcome

from .conftest import ADDRESS, NOW, Rig


def state(client: Any) -> LinkState:
    found: LinkState = client.status().state
    return found


# --- Logging in ----------------------------------------------------------------------------------


def test_hello_then_login_then_online(rig: Rig) -> None:
    index = rig.index()
    rig.catalogue.at = CataloguePosition("e" * 64, 7, "d" * 64, 3, 1000)
    client = rig.client(advertise=["peer.example:6700"])
    visit = index.visit
    assert visit.key is not None
    assert visit.key.id == rig.key.id
    assert visit.heard == [wire.Hello((1,), "test")]
    assert state(client) is LinkState.CONNECTING

    visit.say(wire.Hello((1,), "script"))
    assert visit.last(wire.Login) == wire.Login(
        user="ada",
        epoch="e" * 64,
        revision=7,
        digest="d" * 64,
        listings=3,
        bytes=1000,
        port=6700,
        advertise=("peer.example:6700",),
    )
    assert state(client) is LinkState.CONNECTING


def test_online_means_welcomed(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    status = client.status()
    assert (status.state, status.address, status.error) == (LinkState.ONLINE, ADDRESS, None)
    assert status.since is not None
    assert status.since >= NOW
    identity = client.identity()
    assert (identity.user, identity.account, identity.groups) == ("ada", "a1", ("staff",))
    assert identity.index == index.identity.id
    assert client.ticket() == "ticket-1"
    (event,) = rig.events("index.connected")
    assert event.fields == {"address": ADDRESS, "index": index.identity.id, "user": "ada"}


def test_nothing_is_said_before_the_index_has_proved_its_key(rig: Rig) -> None:
    index = rig.index()
    rig.client([IndexAddress(ADDRESS, new_identity().id)])
    assert index.visit.heard == []
    assert index.visit.lost is not None


def test_without_an_index_the_status_says_what_to_do(rig: Rig) -> None:
    client = rig.client([])
    assert state(client) is LinkState.OFFLINE
    assert "--index" in (client.status().error or "")
    rig.pass_time(60)
    assert list(rig.dialler.dialled) == []


def test_the_catalogue_is_announced_after_the_welcome_and_whenever_it_changes(rig: Rig) -> None:
    one = Entry(content="1" * 64, size=1, folder="share", name="1.txt")
    rig.catalogue.steps[0] = CatalogueStep(1, [one], [], "d" * 64)
    index = rig.index()
    rig.client()
    visit = index.visit
    assert not visit.all(wire.Announce)
    visit.log_in()
    assert visit.last(wire.Announce).add == (one,)
    visit.say(wire.Ack("e" * 64, 1))

    rig.catalogue.steps[1] = CatalogueStep(2, [], [one], "0" * 64)
    for heard in rig.catalogue.heard:
        heard()
    assert index.visit.last(wire.Announce).withdraw == (one,)


# --- Trust ---------------------------------------------------------------------------------------


def test_an_index_that_is_met_for_the_first_time_is_remembered(rig: Rig) -> None:
    index = rig.index()
    rig.client()
    index.visit.log_in()
    assert [event.fields["index"] for event in rig.events("index.trusted")] == [index.identity.id]
    assert index.identity.public.to_text() in (rig.state / "known_indexes").read_text()


def test_another_key_at_a_known_address_is_refused_with_both_ids_and_tried_again_a_minute_later(rig: Rig) -> None:
    first = rig.index()
    rig.client().stop()
    rig.pass_time(1)
    first.close()
    other = rig.index()

    client = rig.client()
    assert other.visit.heard == []
    assert state(client) is LinkState.REFUSED
    error = client.status().error or ""
    assert first.identity.id in error
    assert other.identity.id in error
    assert "remove its line from" in error and "known_indexes" in error
    assert [event.fields["code"] for event in rig.events("index.refused")] == ["wrong_identity"]
    rig.pass_time(WRONG_IDENTITY_S * 0.5 - 1)
    assert len(other.visits) == 1
    rig.pass_time(WRONG_IDENTITY_S + 2)
    assert len(other.visits) == 2

    # Its operator has put the old key back.
    other.close()
    again = rig.index(identity=first.identity)
    rig.pass_time(WRONG_IDENTITY_S * 1.5 + 1)
    again.visit.log_in()
    assert state(client) is LinkState.ONLINE


def test_a_pinned_index_needs_no_meeting_and_no_other_key_will_do(rig: Rig) -> None:
    index = rig.index()
    client = rig.client([IndexAddress(ADDRESS, index.identity.id)])
    index.visit.log_in()
    assert state(client) is LinkState.ONLINE
    assert rig.events("index.trusted") == []

    stranger = rig.client([IndexAddress(ADDRESS, new_identity().id)])
    assert state(stranger) is LinkState.REFUSED
    assert f"the index at {ADDRESS} is not the one that --index names" in (stranger.status().error or "")


@pytest.mark.parametrize("how", ["met for the first time", "met before", "pinned"])
def test_a_password_goes_only_to_an_index_that_is_pinned_or_was_met_before(rig: Rig, how: str) -> None:
    index = rig.index()
    if how == "met before":
        rig.client().stop()
        rig.pass_time(1)
    pin = index.identity.id if how == "pinned" else None
    rig.client([IndexAddress(ADDRESS, pin)], credential="secret")
    login = index.visit.log_in()
    assert login.credential == (None if how == "met for the first time" else "secret")


def test_a_disk_that_cannot_remember_an_index_is_told_and_tried_again(rig: Rig, tmp_path: Path) -> None:
    index = rig.index()
    (tmp_path / "known_indexes.new").mkdir()
    client = rig.client()
    assert index.visit.heard == []
    assert "cannot be written" in (client.status().error or "")
    (tmp_path / "known_indexes.new").rmdir()
    rig.pass_time(5)
    index.visit.log_in()
    assert state(client) is LinkState.ONLINE


# --- Losing it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(wire.FINAL_CODES))
def test_after_a_refusal_that_needs_a_person_it_does_not_come_back_by_itself(rig: Rig, code: str) -> None:
    index = rig.index()
    client = rig.client()
    if code == "replaced":
        index.visit.log_in()
    index.visit.hang_up(code)
    assert (state(client), (client.status().error or "").split(".")[0]) == (LinkState.REFUSED, f"because of {code}")
    assert [event.fields["code"] for event in rig.events("index.refused")] == [code]
    rig.pass_time(300, 5)
    assert len(index.visits) == 1

    client.try_now()
    index.visit.log_in()
    assert state(client) is LinkState.ONLINE


@pytest.mark.parametrize("code", ["shutdown", "malformed", "limit", "some later code"])
def test_after_any_other_goodbye_it_comes_back(rig: Rig, code: str) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    index.visit.hang_up(code)
    assert state(client) is LinkState.OFFLINE
    assert rig.told.lost == 1
    rig.pass_time(1)
    index.visit.log_in()
    assert state(client) is LinkState.ONLINE
    assert len(rig.events("index.lost")) == 1


def test_a_link_that_is_silently_dead_is_noticed_after_fifteen_seconds(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    index.visit.fall_silent()
    index.close()
    rig.pass_time(14)
    assert state(client) is LinkState.ONLINE
    rig.pass_time(6.1)
    assert state(client) is not LinkState.ONLINE
    assert "nothing was heard" in rig.events("index.lost")[0].fields["error"]


def test_an_index_that_answers_pings_is_kept(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    for _ in range(30):
        rig.pass_time(wire.HEARTBEAT_S)
        index.visit.say(wire.Pong())
    assert state(client) is LinkState.ONLINE
    assert len(index.visit.all(wire.Ping)) >= 29


def test_a_ping_is_answered(rig: Rig) -> None:
    index = rig.index()
    rig.client()
    index.visit.log_in()
    index.visit.say(wire.Ping(1_700_000_000.0))
    assert index.visit.all(wire.Pong) == [wire.Pong()]


def test_an_index_that_does_not_answer_the_login_is_left(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.say(wire.Hello((1,), "script"))
    rig.pass_time(LOGIN_S + 2)
    assert len(index.visits) == 2
    assert "did not answer the login" in (client.status().error or "")


def attempts(rig: Rig, seed: int, seconds: float) -> list[float]:
    """When a client dials that finds nobody."""
    times: list[float] = []
    started = rig.clock.seconds()

    class Recording:
        async def dial(self, address: str, alpn: bytes, build: object) -> None:
            times.append(rig.clock.seconds() - started)
            raise Unreachable(f"{address} does not answer")

    client = rig.client(seed=seed, dialler=Recording())
    rig.pass_time(seconds, 0.125)
    client.stop()
    return times


def test_attempts_become_rarer_up_to_a_limit_and_are_spread(rig: Rig) -> None:
    times = attempts(rig, 1, 300)
    waits = [later - earlier for earlier, later in pairwise(times)]
    for number, wait in enumerate(waits):
        middle = min(LAST_BACK_OFF_S, FIRST_BACK_OFF_S * 2**number)
        assert 0.5 * middle - 0.2 <= wait <= 1.5 * middle + 0.2
    assert len(waits) > 8
    assert len({round(wait / LAST_BACK_OFF_S, 2) for wait in waits[-4:]}) > 1
    assert attempts(rig, 2, 60)[:6] != attempts(rig, 3, 60)[:6]


def test_after_a_good_session_the_waits_begin_small_again(rig: Rig) -> None:
    index = rig.index()
    index.close()
    rig.client()
    rig.pass_time(100)
    index.open()
    while not index.visits:
        rig.pass_time(1)
    index.visit.log_in()
    index.visit.hang_up("shutdown")
    rig.pass_time(1)
    assert len(index.visits) == 2


def test_several_addresses_are_tried_in_turn_before_the_wait_grows(rig: Rig) -> None:
    addresses = [IndexAddress(f"{name}.example:6699") for name in "abc"]
    last = rig.index("c.example:6699")
    client = rig.client(addresses)
    rig.pass_time(2)
    assert list(rig.dialler.dialled)[:3] == [target.address for target in addresses]
    last.visit.log_in()
    assert client.status().address == "c.example:6699"

    # The next address has its turn after a loss.
    first = rig.index("a.example:6699")
    last.visit.hang_up("shutdown")
    rig.pass_time(1)
    first.visit.log_in()
    assert client.status().address == "a.example:6699"


# --- Ending it -----------------------------------------------------------------------------------


def test_stopping_says_goodbye_and_does_not_come_back(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    client.stop()
    rig.pass_time(120, 5)
    assert index.visit.last(wire.Bye).code == "shutdown"
    assert len(index.visits) == 1
    assert state(client) is LinkState.OFFLINE


@pytest.mark.parametrize("answers", [True, False])
def test_stopping_while_the_connection_is_being_made_is_quiet(rig: Rig, answers: bool) -> None:
    index = rig.index()
    connected: Deferred[None] = Deferred()

    class Slow:
        async def dial(self, address: str, alpn: bytes, build: Any) -> None:
            await connected
            if not answers:
                raise Unreachable("nobody")
            await rig.dialler.dial(address, alpn, build)

    client = rig.client(dialler=Slow())
    client.stop()
    connected.callback(None)
    rig.pass_time(60)
    assert all(visit.heard == [] for visit in index.visits)
    assert state(client) is LinkState.OFFLINE
    assert rig.clock.getDelayedCalls() == []


def test_stopping_before_the_handshake_says_nothing_to_whom_has_not_proved_its_key(rig: Rig) -> None:
    index = rig.index()
    client = rig.client(start=False)
    client.start(rig.told)
    client.stop()
    rig.pass_time(30)
    assert index.visit.heard == []
    assert rig.clock.getDelayedCalls() == []


# --- An index that breaks the rules --------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"\xff\xff\n",
        b"[" * 30_000 + b"\n",
        b"x" * (MAX_LINE_BYTES + 10),
        b'{"t":"welcome"}\n' * 2,
        b'{"t":"ack","epoch":"' + b"0" * 64 + b'","revision":1}\n',
    ],
)
def test_what_is_no_hello_ends_the_link_and_it_is_tried_again(rig: Rig, line: bytes) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.say_bytes(line)
    if b"welcome" in line:
        # Out of bounds is answered, and the login is still waited for.
        assert index.visit.last(wire.Error).code == "out_of_bounds"
        return
    assert state(client) is LinkState.OFFLINE
    rig.pass_time(2)
    assert len(index.visits) == 2


@pytest.mark.parametrize("twice", [wire.Hello((1,), "script"), None])
def test_a_second_hello_or_welcome_ends_the_link(rig: Rig, twice: wire.Hello | None) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    if twice is None:
        index.visit.say(welcome())
    else:
        index.visit.say(twice)
    assert state(client) is LinkState.OFFLINE


def test_an_index_of_another_version_is_refused_for_good(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.say(wire.Hello((2, 3), "script"))
    assert state(client) is LinkState.REFUSED
    assert "version 1" in (client.status().error or "")
    rig.pass_time(200, 5)
    assert len(index.visits) == 1


def test_a_message_of_a_later_version_is_answered_and_the_link_stays(rig: Rig) -> None:
    index = rig.index()
    client = rig.client()
    index.visit.log_in()
    index.visit.say_bytes(b'{"t":"dance","id":4}\n')
    assert index.visit.last(wire.Error) == wire.Error("unknown_type", "unknown message type 'dance'", 4)
    assert state(client) is LinkState.ONLINE
