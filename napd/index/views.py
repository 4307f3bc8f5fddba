"""How contents are seen by everybody, kept until their holders change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import msgspec
import numpy as np

from .columns import Column, Ids
from .search import Found
from .table import Row

#: Contents whose view is kept: some 30 MB.
MAX_VIEWS = 30_000


class View(msgspec.Struct, eq=False, gc=False):
    """A content as far as certain items of it go.

    :param items: those that have a say.
    :param names: different ones of all that are online.
    :param narrowed: the last view that fewer items made.
    :param found: as it is told.
    """

    items: Sequence[int]
    row: Row
    names: int
    narrowed: View | None = None
    found: Found | None = None


class Views:
    """By content; when there are too many, the oldest ones are made anew."""

    def __init__(self) -> None:
        self._views: dict[int, View] = {}
        self._is_there = Column(np.uint8)

    def get(self, content: int) -> View | None:
        return self._views.get(content)

    def put(self, content: int, view: View) -> None:
        if len(self._views) >= MAX_VIEWS:
            for oldest in list(islice(self._views, MAX_VIEWS // 4)):
                del self._views[oldest]
        self._is_there.reach(content)
        self._is_there.one[content] = 1
        self._views[content] = view

    def drop(self, contents: Ids, highest: int) -> None:
        """Those of these contents that there are.

        :param highest: no content has a higher number.
        """
        if not self._views:
            return
        self._is_there.reach(highest)
        for content in contents[self._is_there.all[contents.astype(np.intp)] != 0].tolist():
            self._is_there.one[content] = 0
            self._views.pop(content, None)
