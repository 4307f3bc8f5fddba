-- Version 1. Times are seconds since 1970; shares and lists of items are sorted uint32, little-endian.

-- The one row that numbers changes in commit order, and sessions.
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    change INTEGER NOT NULL,
    session INTEGER NOT NULL
);
INSERT INTO clock VALUES (1, 0, 0);

-- A user name and the key that owns it. `session` is the newest one: writes of any other change nothing.
CREATE TABLE account (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL,
    session INTEGER NOT NULL DEFAULT 0,
    made REAL NOT NULL,
    seen REAL NOT NULL
);

CREATE TABLE content (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE
);

-- One distinct catalogue entry; `digest` is the entry's digest. `audience`: NULL is everyone, else a JSON list.
CREATE TABLE item (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    content INTEGER NOT NULL REFERENCES content (number),
    size INTEGER NOT NULL,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    audience TEXT,
    duration_s REAL,
    bitrate_kbps INTEGER,
    width INTEGER,
    height INTEGER
);
CREATE INDEX item_content ON item (content);

-- What an account offers, and up to which revision of which epoch it has told us.
CREATE TABLE catalogue (
    account INTEGER PRIMARY KEY REFERENCES account (number),
    epoch BLOB NOT NULL,
    revision INTEGER NOT NULL,
    digest BLOB NOT NULL,
    listings INTEGER NOT NULL,
    share BLOB NOT NULL
);

-- What changed, numbered in commit order; only the newest are kept.
CREATE TABLE change (
    number INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    revision INTEGER NOT NULL,
    digest BLOB NOT NULL,
    added BLOB NOT NULL,
    withdrawn BLOB NOT NULL
);
