-- Version 2: less on the disk, and less of it touched by a step. Shares and lists of items are roaring bitmaps.
-- `milliseconds` and `roaring` are functions of napd.index.store.sqlite.schema.

PRAGMA cache_size = -65536;

-- What was given last, never to be given again, and how many there are of each.
ALTER TABLE clock ADD COLUMN item INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN content INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN folder INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN accounts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN items INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN contents INTEGER NOT NULL DEFAULT 0;
ALTER TABLE clock ADD COLUMN listings INTEGER NOT NULL DEFAULT 0;
UPDATE clock SET
    item = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'item'), 0),
    content = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'content'), 0);

ALTER TABLE item RENAME TO item_1;
ALTER TABLE content RENAME TO content_1;

-- `items`, here and in `folder`: how many items have it. Without any, the row goes.
CREATE TABLE content (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    items INTEGER NOT NULL
);
INSERT INTO content
    SELECT number, hash, items
    FROM (SELECT content, count(*) AS items FROM item_1 GROUP BY content) JOIN content_1 ON number = content
    ORDER BY number;
CREATE INDEX content_hash ON content (substr(hash, 1, 8));

CREATE TABLE folder (
    number INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    items INTEGER NOT NULL
);
INSERT INTO folder (path, items) SELECT folder, count(*) FROM item_1 GROUP BY folder;

-- One distinct catalogue entry. `audience`: NULL is everyone, else a JSON list.
CREATE TABLE item (
    id INTEGER PRIMARY KEY,
    content INTEGER NOT NULL,
    size INTEGER NOT NULL,
    folder INTEGER NOT NULL,
    name TEXT NOT NULL,
    audience TEXT,
    duration_ms INTEGER,
    bitrate_kbps INTEGER,
    width INTEGER,
    height INTEGER
);
INSERT INTO item
    SELECT id, content, size, (SELECT number FROM folder WHERE path = item_1.folder), name, audience,
        milliseconds(duration_s), bitrate_kbps, width, height
    FROM item_1 ORDER BY id;

-- The first 16 bytes of an entry's digest: two entries that share these cannot be made.
CREATE TABLE item_digest (
    digest BLOB PRIMARY KEY,
    item INTEGER NOT NULL,
    content INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO item_digest SELECT substr(digest, 1, 16), id, content FROM item_1 ORDER BY 1;

DROP TABLE item_1;
DROP TABLE content_1;

UPDATE catalogue SET share = roaring(share);
UPDATE change SET added = roaring(added), withdrawn = roaring(withdrawn);

UPDATE clock SET
    folder = (SELECT coalesce(max(number), 0) FROM folder),
    accounts = (SELECT count(*) FROM account),
    items = (SELECT count(*) FROM item),
    contents = (SELECT count(*) FROM content),
    listings = (SELECT coalesce(sum(listings), 0) FROM catalogue);
