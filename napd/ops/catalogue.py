"""The catalogue of log events: every name, its level, its fields, and what it tells an operator.

docs/reference/log-events.md is this table for people; tests/unit/test_event_catalogue.py holds the two, and the code,
against each other both ways. info: an operator would want it; warn: the other side misbehaved, or a limit
was hit; error: a fault of ours.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class EventKind:
    level: str
    meaning: str
    fields: tuple[str, ...] = ()


EVENTS: dict[str, EventKind] = {
    # Both daemons
    "daemon.ready": EventKind("info", "The sockets are bound; the daemon serves.", ("listen", "peer", "index")),
    "daemon.stopping": EventKind("info", "A clean end has begun.", ("reason",)),
    "daemon.reloaded": EventKind("info", "The configuration was read again.", ("restart",)),
    "daemon.reload_failed": EventKind("warn", "The configuration is wrong; the old one stays in force.", ("error",)),
    "daemon.fault": EventKind("error", "Something failed that never should: a bug.", ("where", "error", "traceback")),
    "daemon.cannot_start": EventKind("error", "Something outside is in the way.", ("error",)),
    "state.narrowed": EventKind("info", "The state directory was open to others and is not any more.", ("mode",)),
    "state.migrated": EventKind("info", "The state was brought to the present schema.", ("from_version", "to_version")),
    "log.twisted": EventKind("info", "A message of the framework.", ("namespace",)),
    "limit.hit": EventKind("warn", "A limit stopped somebody.", ("limit", "peer", "user")),
    "peer.misbehaved": EventKind("warn", "The other end broke the protocol.", ("peer", "code", "error")),
    # A peer's link to the index
    "index.connected": EventKind("info", "Logged in at the index.", ("address", "index", "user")),
    "index.lost": EventKind("info", "The link to the index is gone; it is dialled again.", ("address", "error")),
    "index.unreachable": EventKind("info", "The index does not answer; it is tried again.", ("address", "error")),
    "index.refused": EventKind(
        "warn", "The index will not have us, or is not who it was.", ("address", "code", "error")
    ),
    "index.trusted": EventKind(
        "info", "An index was met for the first time; its key is remembered.", ("address", "index")
    ),
    "index.reachable": EventKind("info", "What the index's dial-back found.", ("addresses",)),
    # The index
    "login.accepted": EventKind("info", "A peer logged in.", ("user", "peer", "account", "session", "listings")),
    "login.denied": EventKind("warn", "A login was refused.", ("user", "peer", "code")),
    "session.opened": EventKind("info", "A peer is online.", ("user", "peer", "session", "address")),
    "session.closed": EventKind("info", "A peer is gone.", ("user", "peer", "session", "reason")),
    "session.replaced": EventKind("info", "A later login of the account took over.", ("user", "peer", "session")),
    "catalogue.announced": EventKind(
        "info", "A change of a catalogue is committed.", ("user", "revision", "added", "withdrawn")
    ),
    "catalogue.resync": EventKind(
        "warn", "A catalogue was out of step; the whole list was asked for.", ("user", "error")
    ),
    "index.loaded": EventKind("info", "Everything that the index remembers is in memory.", ("items", "took_s")),
    "index.load_failed": EventKind(
        "error", "The database cannot be read; what a peer holds is loaded when it comes.", ("error",)
    ),
    "index.snapshot_loaded": EventKind(
        "info", "The snapshot was good; what the database has besides is loaded next.", ("items", "took_s")
    ),
    "index.snapshot_refused": EventKind(
        "warn", "The snapshot is missing, damaged or of another database; all is loaded from the database.", ("error",)
    ),
    "index.snapshot_written": EventKind(
        "info", "What the index has in memory is on the disk, for a quick start.", ("items", "bytes", "took_s")
    ),
    "index.snapshot_failed": EventKind(
        "error", "The snapshot could not be written or removed; the next start takes longer.", ("error",)
    ),
    "index.node_up": EventKind("info", "This process is a node of an index that several share.", ("node",)),
    "index.node_lost": EventKind("warn", "Another node's lease is over; its peers are offline.", ("node",)),
    "index.node_cut_off": EventKind(
        "error", "The shared database is away: searches go on from memory, logins and announcements wait.", ("error",)
    ),
    "index.node_outdated": EventKind(
        "error",
        "The database has forgotten what this process knows, as after a backup was restored: it ends, to begin anew.",
        ("change",),
    ),
    "index.node_resync": EventKind(
        "warn", "The log of changes has a gap; all that is online was read anew.", ("error",)
    ),
    "index.writer_lost": EventKind(
        "error",
        "The process that writes the database ended: announcements under way fail, and it is started again.",
        ("error", "writes", "wait_s"),
    ),
    "search.answered": EventKind("info", "A search was answered.", ("user", "query", "results", "took_ms")),
    "wish.told": EventKind("debug", "What was announced was told to who wished for it.", ("user", "wish", "results")),
    # Shares
    "share.added": EventKind("info", "A directory is offered.", ("share", "directory")),
    "share.removed": EventKind("info", "A directory is offered no more.", ("share",)),
    "share.refused": EventKind("warn", "A directory must not be shared.", ("share", "directory", "error")),
    "share.unavailable": EventKind("warn", "A shared directory is missing; its files are withdrawn.", ("share",)),
    "share.available": EventKind("info", "A missing directory is back.", ("share",)),
    "share.scanned": EventKind(
        "info", "A share was gone through.", ("share", "listings", "bytes", "skipped", "took_s")
    ),
    "share.file_failed": EventKind("warn", "A file could not be read.", ("share", "error")),
    "share.media_unreadable": EventKind(
        "warn",
        "The headers of a recording or picture could not be understood; it is shared without them.",
        ("share", "error"),
    ),
    "share.watch_failed": EventKind(
        "warn", "Live changes cannot be seen; the periodic rescan finds them.", ("share", "error")
    ),
    "share.stalled": EventKind("error", "Shares cannot be kept up to date for now; it is tried again.", ("error",)),
    # Downloads
    "download.queued": EventKind(
        "info", "A download was taken on.", ("download", "transfer", "content", "name", "priority")
    ),
    "download.started": EventKind("info", "A download runs.", ("download", "transfer", "content", "sources")),
    "download.waiting": EventKind("info", "No source is left; it goes on when one appears.", ("download", "transfer")),
    "download.displaced": EventKind("info", "A more urgent download took its place.", ("download", "transfer")),
    "download.yielded": EventKind(
        "info",
        "All its sources make it wait; others run meanwhile, and it keeps its places in their lines.",
        ("download", "transfer"),
    ),
    "download.returned": EventKind("info", "It is served, and has its place back.", ("download", "transfer")),
    "download.paused": EventKind("info", "Paused on request.", ("download", "transfer")),
    "download.resumed": EventKind("info", "Queued again on request.", ("download", "transfer")),
    "download.cancelled": EventKind("info", "Cancelled; its partial data is gone.", ("download", "transfer")),
    "download.source_added": EventKind("info", "A source serves it.", ("download", "transfer", "peer", "user")),
    "download.source_lost": EventKind(
        "info", "A source is used no more.", ("download", "transfer", "peer", "user", "code")
    ),
    "download.chunk_rejected": EventKind(
        "warn", "A chunk was not what its digest says.", ("download", "transfer", "peer", "user", "chunk")
    ),
    "download.finished": EventKind(
        "info", "Complete, synced, under its final name.", ("download", "transfer", "name", "bytes", "took_s")
    ),
    "download.failed": EventKind("warn", "It stopped; see the code.", ("download", "transfer", "code", "error")),
    "download.unflushed": EventKind(
        "warn", "What was written last could not be kept; it is fetched again.", ("download", "transfer", "error")
    ),
    "queue.unsaved": EventKind(
        "error",
        "The queue or what was learnt about peers cannot be saved; it goes on, and the next save takes it along.",
        ("downloads", "error"),
    ),
    "queue.recovered": EventKind("info", "The queue was read from the journal.", ("downloads", "rehashed", "kept")),
    # Wishes
    "wish.found": EventKind(
        "info",
        "A content that was wished for is there; said once for each wish and content.",
        ("wish", "query", "content", "name", "size", "users", "download"),
    ),
    "wish.refused": EventKind("warn", "The index cannot make sense of a wish.", ("wish", "query", "error")),
    "wish.unsaved": EventKind(
        "error", "What was found for a wish cannot be kept or queued; it is searched for again.", ("wish", "error")
    ),
    # Uploads
    "upload.started": EventKind("info", "A content is being sent.", ("transfer", "content", "user", "peer")),
    "upload.finished": EventKind(
        "info", "The asker has had what it asked for, or left.", ("transfer", "content", "user", "peer", "bytes")
    ),
    "upload.denied": EventKind("warn", "A peer was refused.", ("user", "peer", "code")),
}
