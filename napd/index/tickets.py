"""Tickets: the index's signed word for who a peer is, shown to other peers (napd.wire.ticket)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import frozen

from ..net.identity import Identity
from ..wire.ticket import LIFETIME_S, Claims
from .store.interface import Account

#: Seconds after which a ticket is renewed over the live link: half its life, so that an outage of hours does no harm.
RENEW_AFTER_S = LIFETIME_S / 2


@frozen
class Tickets:
    """:param now: index time, seconds since 1970."""

    _identity: Identity
    _now: Callable[[], float]

    def issue(self, account: Account, groups: tuple[str, ...] = ()) -> str:
        now = self._now()
        claims = Claims(
            index=self._identity.id,
            account=account.id,
            user=account.user,
            peer=account.key,
            groups=groups,
            issued=now,
            expires=now + LIFETIME_S,
            key=self._identity.id,
        )
        return self._identity.sign_ticket(msgspec.json.encode(claims))
