"""What is offered to some only: few listings, in sets of their own, so that they count only for who may see them."""

from __future__ import annotations

from collections.abc import Iterator

from pyroaring import BitMap

from .items import Asker
from .multimap import Multimap
from .table import ItemTable, Row


class Restricted:
    """Restricted items that accounts online hold."""

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        #: Content → items; item → accounts; audience member → items.
        self._items = Multimap()
        self._holders = Multimap()
        self._by_token: dict[str, BitMap] = {}

    def add(self, account: int, item: int) -> Row:
        """The account holds this restricted item, which is returned."""
        row = self._table.row(item)
        self._holders.add(item, account)
        self._items.add(row.content, item)
        for token in row.audience or ():
            self._by_token.setdefault(token, BitMap()).add(item)
        return row

    def remove(self, account: int, item: int) -> Row:
        row = self._table.row(item)
        self._holders.discard(item, account)
        if item not in self._holders:
            self._items.discard(row.content, item)
            # What was stored by others may name one of them twice.
            for token in set(row.audience or ()):
                having = self._by_token[token]
                having.discard(item)
                if not having:
                    del self._by_token[token]
        return row

    def items_for(self, asker: Asker) -> BitMap:
        return BitMap.union(BitMap(), *(self._by_token[t] for t in asker.tokens() if t in self._by_token))

    def of(self, content: int, asker: Asker) -> list[int]:
        """Items of this content that the asker may see."""
        if content not in self._items:
            return []
        return [item for item in self._items.of(content) if asker.may_see(self._table.row(item).audience or ())]

    def holders_of(self, items: list[int]) -> set[int]:
        return set[int]().union(*(self._holders.of(item) for item in items))

    def is_held(self, content: int, items: BitMap) -> bool:
        """Whether any of these items is one of this content."""
        return any(item in items for item in self._items.of(content))

    def __contains__(self, content: int) -> bool:
        return content in self._items

    def __iter__(self) -> Iterator[int]:
        """Contents of which there are any."""
        return iter(self._items)
