-- Version 1. Times are seconds since 1970 unless they are leases; shares and lists of items are sorted uint32,
-- little-endian. Numbers of items, contents and sessions may have holes, and are not in the order of commits.

-- The one row that numbers changes in commit order: locked last in each transaction that has any. `identity` is the id
-- of the index, the same for all its nodes.
CREATE TABLE clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    change bigint NOT NULL DEFAULT 0,
    identity text
);
INSERT INTO clock (version) VALUES (1);

CREATE SEQUENCE session_number;

-- A user name and the key that owns it. `session` is the newest one: writes of any other change nothing.
CREATE TABLE account (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL UNIQUE,
    key text NOT NULL,
    session bigint NOT NULL DEFAULT 0,
    made double precision NOT NULL,
    seen double precision NOT NULL
);

CREATE TABLE content (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE
);

-- One distinct catalogue entry; `digest` is the entry's digest. `audience`: NULL is everyone, else a JSON list.
-- `content` refers to a content; it is the sweep that removes both, and nothing else runs beside it.
CREATE TABLE item (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    content integer NOT NULL,
    size bigint NOT NULL,
    folder text NOT NULL,
    name text NOT NULL,
    audience text,
    duration_s double precision,
    bitrate_kbps integer,
    width integer,
    height integer
);
CREATE INDEX item_content ON item (content);

-- What an account offers, and up to which revision of which epoch it has told us. `version` grows with each write.
CREATE TABLE catalogue (
    account integer PRIMARY KEY REFERENCES account (number),
    version bigint NOT NULL,
    epoch bytea NOT NULL,
    revision bigint NOT NULL,
    digest bytea NOT NULL,
    listings integer NOT NULL,
    share bytea NOT NULL
);

-- A process of the index. It is alive until its lease is over; one that was found dead never comes back under this
-- number.
CREATE TABLE node (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    until timestamptz NOT NULL,
    gone boolean NOT NULL DEFAULT false
);

-- Who is online, at which node. Rows of nodes that are gone say nothing.
CREATE TABLE presence (
    account integer PRIMARY KEY REFERENCES account (number),
    session bigint NOT NULL,
    node integer NOT NULL,
    since double precision NOT NULL,
    addresses text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX presence_node ON presence (node);

-- What happened, numbered in commit order; only the newest are kept. `kind`: announce, up, down, reached, node_down,
-- swept. `node` is the one that it happened at, or that is gone; 0 is none.
CREATE TABLE change (
    number bigint PRIMARY KEY,
    kind text NOT NULL,
    node integer NOT NULL,
    account integer NOT NULL,
    session bigint NOT NULL,
    at double precision NOT NULL,
    epoch bytea NOT NULL,
    revision bigint NOT NULL,
    digest bytea NOT NULL,
    added bytea NOT NULL,
    withdrawn bytea NOT NULL,
    addresses text[] NOT NULL
);
