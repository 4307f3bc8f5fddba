"""What the sessions of one index share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ..background import Background
from ..model import PeerId
from ..net.dial import Dialler
from ..net.identity import Identity
from ..ops.events import Events
from ..wire.index import HEARTBEAT_S
from .catalogues import Catalogues
from .cluster.interface import Cluster, Join, alone
from .dialback import Dialback
from .engine import MemoryEngine
from .intake import Intake
from .limits import LOGIN_S, Limits
from .outbox import Unread
from .presence import Presence
from .retention import RETENTION_DAYS, Retention
from .seeking import Seeking
from .store.interface import IndexStore
from .table import ItemTable
from .tickets import RENEW_AFTER_S, Tickets
from .turns import Turns
from .waits import Waits
from .wishing import Wishing


@define
class Figures:
    """What is counted since the start."""

    searches: int = 0


@frozen
class Services:
    """Made by `assemble`.

    :param now: index time, seconds since 1970; `clock` is for waiting.
    :param logins: the waits that all sessions have in common: for the login, for the next heartbeat, for a new ticket.
    """

    id: PeerId
    clock: IReactorTime
    now: Callable[[], float]
    events: Events
    background: Background
    limits: Limits
    store: IndexStore
    presence: Presence
    table: ItemTable
    engine: MemoryEngine
    seeking: Seeking
    wishing: Wishing
    catalogues: Catalogues
    retention: Retention
    tickets: Tickets
    dialback: Dialback
    turns: Turns
    intake: Intake
    cluster: Cluster
    unread: Unread
    logins: Waits
    heartbeats: Waits
    renewals: Waits
    figures: Figures = field(factory=Figures)


def assemble(
    *,
    clock: IReactorTime,
    now: Callable[[], float],
    events: Events,
    background: Background,
    identity: Identity,
    store: IndexStore,
    dialler: Dialler,
    random: Random,
    limits: Limits,
    retention_days: float = RETENTION_DAYS,
    join: Join = alone,
) -> Services:
    """All that is derived from the store, empty.

    :param join: how this process comes together with others.
    """
    table = ItemTable()
    presence = Presence(table)
    engine = MemoryEngine(table, presence)
    seeking = Seeking(clock, table, presence)
    wishing = Wishing(clock, table, presence, engine, events.fault)
    turns = Turns(clock)
    intake = Intake(limits.under_way)
    catalogues = Catalogues(store, table, engine, presence, seeking, wishing, turns.change, intake.passed)
    return Services(
        id=identity.id,
        clock=clock,
        now=now,
        events=events,
        background=background,
        limits=limits,
        store=store,
        presence=presence,
        table=table,
        engine=engine,
        seeking=seeking,
        wishing=wishing,
        catalogues=catalogues,
        retention=Retention(retention_days, store, background),
        tickets=Tickets(identity, now),
        dialback=Dialback(clock, dialler, background, random),
        turns=turns,
        intake=intake,
        cluster=join(catalogues, presence),
        unread=Unread(limits.unread_bytes, limits.unread_bytes_in_all),
        logins=Waits(clock, LOGIN_S),
        heartbeats=Waits(clock, HEARTBEAT_S),
        renewals=Waits(clock, RENEW_AFTER_S),
    )
