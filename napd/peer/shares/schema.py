"""The tables of `shares.sqlite`: one script per version.

share   a shared directory. Name and directory are null while what it listed is being taken away.
hash    what is known of one state of one file (see `identity`): its content once all of it is hashed. `due`: when
        the next part may be read (null: nothing to do); `doubtful`: so many leading chunks were read while the file was
        young and are to be read again; `restless`: so many states just before this one were read and soon outdated;
        `failed`: why it cannot be read; `orphaned`: since when no file has been in this state (it is kept a while);
        `media`: what the headers of a recording or picture say, as JSON; null where they were not looked into.
digests the chunk digests of a hash by group (1,024 chunks), as far as they are known.
entry   one row for each catalogue entry there ever was, with the number of its last change; `files` counts the files
        that stand behind it. None: it is withdrawn, and the row (a tombstone) is there to tell that.
file    one file in one share: the hash of its present state, and what it is listed as. `content` may be known before
        the hash is (renamed, another mode); `waiting`: it cannot be listed until it is hashed.
undescribed  hashes from before headers were looked into.
"""

from __future__ import annotations

SCHEMA = (
    """
    CREATE TABLE catalogue (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        epoch TEXT NOT NULL, revision INTEGER NOT NULL, floor INTEGER NOT NULL, digest TEXT NOT NULL,
        listings INTEGER NOT NULL, bytes INTEGER NOT NULL
    );
    CREATE TABLE share (
        id INTEGER PRIMARY KEY,
        name TEXT UNIQUE, directory BLOB UNIQUE, audience TEXT NOT NULL,
        device INTEGER, missing INTEGER NOT NULL DEFAULT 0,
        listings INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, waiting INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE hash (
        id INTEGER PRIMARY KEY,
        device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
        content BLOB, group_digests BLOB, media BLOB,
        due REAL, doubtful INTEGER NOT NULL DEFAULT 0, restless INTEGER NOT NULL DEFAULT 0,
        failed TEXT, orphaned REAL,
        UNIQUE (device, inode, size, mtime_ns, ctime_ns)
    );
    CREATE INDEX hash_content ON hash (content) WHERE content IS NOT NULL;
    CREATE INDEX hash_media ON hash (content) WHERE media IS NOT NULL;
    CREATE INDEX hash_due ON hash (size) WHERE due IS NOT NULL;
    CREATE INDEX hash_failed ON hash (id) WHERE failed IS NOT NULL;
    CREATE INDEX hash_orphaned ON hash (orphaned) WHERE orphaned IS NOT NULL;
    CREATE TABLE digests (
        hash INTEGER NOT NULL REFERENCES hash (id) ON DELETE CASCADE,
        place INTEGER NOT NULL, chunks BLOB NOT NULL,
        PRIMARY KEY (hash, place)
    ) WITHOUT ROWID;
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE, revision INTEGER NOT NULL UNIQUE,
        files INTEGER NOT NULL, json BLOB NOT NULL
    );
    CREATE INDEX entry_tombstone ON entry (revision) WHERE files = 0;
    CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        share INTEGER NOT NULL REFERENCES share (id), folder BLOB NOT NULL, name BLOB NOT NULL,
        hash INTEGER NOT NULL REFERENCES hash (id),
        entry INTEGER, content BLOB, waiting INTEGER NOT NULL,
        UNIQUE (share, folder, name)
    );
    CREATE INDEX file_hash ON file (hash);
    CREATE INDEX file_content ON file (content, share) WHERE content IS NOT NULL;
    """,
    """
    CREATE TABLE undescribed (hash INTEGER PRIMARY KEY REFERENCES hash (id) ON DELETE CASCADE);
    INSERT INTO undescribed SELECT id FROM hash WHERE content IS NOT NULL;
    """,
)
