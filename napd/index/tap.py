"""`twistd napindex`: the options, and the one place where the index's parts are chosen."""

from __future__ import annotations

import gc
import platform
import secrets
import time
from random import SystemRandom
from typing import ClassVar

from twisted.application.service import IService
from twisted.internet import reactor

from ..net.dial import TLSDialler
from ..net.identity import load_identity
from ..ops.daemon import DaemonService, Frame
from ..ops.descriptors import allow_descriptors
from ..ops.listening import listen
from ..ops.settings import INDEX_SETTINGS
from ..ops.threads import Worker
from ..ops.twistd import DaemonOptions
from .daemon import IndexDaemon
from .limits import Limits
from .snapshots import SNAPSHOT_NAME, SnapshotFile
from .store.choosing import open_store
from .store.sqlite.schema import scripts
from .store.sqlite.store import FILE_NAME

#: Files, databases and connections that are turned away, besides those of peers.
OTHER_DESCRIPTORS = 500
#: What Python's collector of cycles is told: a search or a login makes thousands of objects, and by its own thresholds
#: (700, 10, 10) it would look through the young ones several times in each, for nothing.
COLLECTED_AFTER = (5_000, 10, 2)


class Options(DaemonOptions):
    program = "napindex"
    settings = INDEX_SETTINGS
    databases: ClassVar[dict[str, int]] = {FILE_NAME: len(scripts())}


def makeService(options: Options) -> IService:
    return DaemonService(reactor, options, compose)


def compose(frame: Frame) -> IndexDaemon:
    """:raises CannotStart: the port is taken. ConfigurationError: identity or database cannot be used."""
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    identity = load_identity(frame.values["identity"])
    limits = Limits.configured(frame.values)
    allow_descriptors(limits.connections + OTHER_DESCRIPTORS)
    chosen = open_store(
        frame.reactor,
        frame.values["database"],
        frame.state / FILE_NAME,
        identity=identity.id,
        new_account_id=lambda: secrets.token_hex(16),
        events=frame.events,
        monotonic=time.monotonic,
        random=SystemRandom(),
    )
    return IndexDaemon(
        clock=frame.reactor,
        now=time.time,
        events=frame.events,
        identity=identity,
        store=chosen.store,
        snapshot=SnapshotFile(frame.state / SNAPSHOT_NAME, Worker(frame.reactor, "index-snapshot")),
        dialler=TLSDialler(frame.reactor, identity),
        random=SystemRandom(),
        limits=limits,
        retention_days=frame.values["retention_days"],
        bind=lambda factory: listen(frame.reactor, frame.values["listen"], factory, remember=frame.state / "port"),
        join=chosen.join,
        machine=platform.node(),
        give_up=frame.give_up,
    )
