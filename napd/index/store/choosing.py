"""Which store there is: the embedded one for a process alone, or the shared one where a database is configured."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from attrs import frozen

from ...errors import ConfigurationError
from ...model import PeerId
from ...ops.events import Events
from ..catalogues import Catalogues
from ..cluster.interface import Cluster, Join, SharedStore, alone
from ..cluster.node import Node
from ..presence import Presence
from .interface import IndexStore
from .sqlite.store import SqliteStore

#: Loaded only where it is asked for: what it needs is no part of a plain installation.
_POSTGRES = "napd.index.store.postgres.store"


@frozen
class Chosen:
    """`join`: how what is derived from the store comes together with that of other processes."""

    store: IndexStore
    join: Join


def open_store(
    reactor: Any,
    url: str | None,
    path: Path,
    *,
    identity: PeerId,
    new_account_id: Callable[[], str],
    events: Events,
    monotonic: Callable[[], float],
    random: Random,
) -> Chosen:
    """
    :param url: of a PostgreSQL database; None: the SQLite file at `path`.
    :param identity: of the index.
    :raises ConfigurationError: it cannot be used as it is.
    """
    if url is None:
        return Chosen(SqliteStore.open(reactor, path, new_account_id, random, events), alone)
    try:
        postgres = import_module(_POSTGRES)
    except ImportError as error:
        raise ConfigurationError(
            f"database is PostgreSQL, and its driver cannot be loaded: {error}", "pip install 'napd[postgres]'"
        ) from error
    store: SharedStore = postgres.PostgresStore.open(reactor, url, new_account_id, monotonic, random, identity)

    def join(catalogues: Catalogues, presence: Presence) -> Cluster:
        return Node(store, catalogues, presence, clock=reactor, monotonic=monotonic, random=random, events=events)

    return Chosen(store, join)
