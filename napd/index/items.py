"""What the index knows of files: an item is one way in which a content is offered; who may see it."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from msgspec import Struct

from ..model import EVERYONE
from ..wire.catalogue import Entry


class Item(Struct, frozen=True, gc=False):
    """A distinct catalogue entry, whoever holds it, under the numbers that the store gave.

    Many accounts that offer the same file under the same name share one item; its natural key is
    `napd.wire.catalogue.entry_digest`.

    :param id: 32 bits, from 1, never given twice.
    :param content: the number of its content, likewise.
    """

    id: int
    content: int
    entry: Entry


@frozen
class Asker:
    """Who asks, as far as the answer depends on it.

    :param number: of the asker's account.
    :param account: its id, as audiences name it (``@ACCOUNT``).
    :param local: it is connected over loopback, so loopback addresses mean something to it.
    """

    number: int
    account: str
    peer: str
    groups: Sequence[str] = ()
    local: bool = False

    def tokens(self) -> tuple[str, ...]:
        """The members of an audience that let this asker in, besides `everyone`."""
        return (f"@{self.account}", *self.groups)

    def may_see(self, audience: Sequence[str]) -> bool:
        return EVERYONE in audience or any(token in audience for token in self.tokens())
