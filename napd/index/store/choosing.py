"""Which store there is: the embedded one, or the shared one where a database is configured."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, cast

from ...errors import ConfigurationError
from ...ops.events import Events
from .interface import IndexStore
from .sqlite import SqliteStore

#: Loaded only where it is asked for: what it needs is no part of a plain installation.
_POSTGRES = "napd.index.store.postgres.store"


def open_store(
    reactor: Any,
    url: str | None,
    path: Path,
    *,
    new_account_id: Callable[[], str],
    events: Events,
    monotonic: Callable[[], float],
    random: Random,
) -> IndexStore:
    """
    :param url: of a PostgreSQL database; None: the SQLite file at `path`.
    :raises ConfigurationError: it cannot be used as it is.
    """
    if url is None:
        return SqliteStore.open(reactor, path, new_account_id, events)
    try:
        postgres = import_module(_POSTGRES)
    except ImportError as error:
        raise ConfigurationError(
            f"database is PostgreSQL, and its driver cannot be loaded: {error}", "pip install 'napd[postgres]'"
        ) from error
    return cast(IndexStore, postgres.PostgresStore.open(reactor, url, new_account_id, monotonic, random))
