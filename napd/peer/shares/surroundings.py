"""What all shares of a daemon have in common."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import frozen
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from ...errors import NapError
from ...ops.events import Events
from ...ops.threads import Pool
from .books import Books
from .guard import Guard
from .watching import Watcher


@frozen
class Surroundings:
    """:ivar clock: the reactor, for timers; `threads`: the same, for calls from threads.

    :ivar now: seconds since 1970, as files are stamped.
    :ivar pool: threads that look at disks; more than one, so that a dead disk does not hold up the others.
    :ivar rescan_s: between two passes, with a tenth of jitter.
    :ivar work_waits: called when there may be more to hash.
    :ivar trouble: told when the books could not be written.
    """

    clock: IReactorTime
    threads: IReactorFromThreads
    now: Callable[[], float]
    rng: Random
    events: Events
    books: Books
    pool: Pool
    guard: Guard
    watcher: Watcher
    rescan_s: float
    work_waits: Callable[[], None]
    trouble: Callable[[NapError], None]
