"""What the sessions of one index share."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ..background import Background
from ..model import PeerId
from ..ops.events import Events
from .catalogues import Catalogues
from .dialback import Dialback
from .limits import Limits
from .presence import Presence
from .search import SearchEngine
from .seeking import Seeking
from .store.interface import IndexStore
from .tickets import Tickets
from .turns import Turns


@define
class Figures:
    """What is counted since the start."""

    searches: int = 0


@frozen
class Services:
    """:param now: index time, seconds since 1970; `clock` is for waiting."""

    id: PeerId
    clock: IReactorTime
    now: Callable[[], float]
    events: Events
    background: Background
    limits: Limits
    store: IndexStore
    presence: Presence
    engine: SearchEngine
    seeking: Seeking
    catalogues: Catalogues
    tickets: Tickets
    dialback: Dialback
    turns: Turns
    figures: Figures = field(factory=Figures)
