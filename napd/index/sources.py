"""Who holds a content, as one asker is told: the wire's `sources`."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Iterator

import msgspec

from ..wire import index as wire
from ..wire.line import MAX_LINE_BYTES
from .addresses import fit_for
from .claims import shown
from .items import Asker
from .presence import Online, Presence
from .table import ItemTable

#: Bytes of a line left for what is not a row.
_FRAME_BYTES = 1024

_encode = msgspec.json.Encoder().encode


def sources_for(table: ItemTable, presence: Presence, content: str, asker: Asker) -> wire.Sources:
    """All online holders but the asker itself; of more than fit, those that can be reached, spread over the askers.

    Who has only parts comes after those who have all of it.
    """
    number = table.number_of(content)
    holders = () if number is None else presence.holders_for(number, asker)
    whole = [_row(online, asker) for online in _others(presence, holders, asker)]
    partial = [
        _row(online, asker, partial=True)
        for online in _others(presence, presence.swarms.told(content, asker.peer), asker)
        if online.account.number not in holders
    ]
    # The same order for the same asker, another one for each: a crowd does not dial the same few.
    rows = whole + [row for row in partial if row.addresses]
    rows.sort(key=lambda row: (not row.addresses, row.partial, crc32(f"{asker.peer} {row.peer}".encode())))
    claim = shown(table, presence, number, asker) if number is not None and whole else None
    return wire.Sources(
        content=content,
        sources=_fitting(rows),
        size=None if claim is None else claim.size,
        name=None if claim is None else claim.name,
        everyone=presence.swarms.is_open(content),
    )


def _others(presence: Presence, accounts: Iterable[int], asker: Asker) -> Iterator[Online]:
    for account in accounts:
        online = presence.get(account)
        if online is not None and online.account.key != asker.peer:
            yield online


def _row(online: Online, asker: Asker, *, partial: bool = False) -> wire.Source:
    return wire.Source(online.account.key, online.account.user, _addresses(online, asker), partial)


def _addresses(online: Online, asker: Asker) -> tuple[str, ...]:
    return fit_for(online.addresses, local=asker.local)


def _fitting(rows: list[wire.Source]) -> tuple[wire.Source, ...]:
    """As many as a line holds: addresses may be long."""
    left = MAX_LINE_BYTES - _FRAME_BYTES - 6 * 255
    told: list[wire.Source] = []
    for row in rows[: wire.MAX_SOURCES_TOLD]:
        left -= len(_encode(row)) + 1
        if left < 0:
            break
        told.append(row)
    return tuple(told)
