-- Version 2: what sessions say of themselves is told to all nodes, and since when a node is there can be seen.

-- `network`: the public one that the session connects from. `parts`: contents that its peer has parts of, each a hash
-- and a byte, 1 if the content is open.
ALTER TABLE presence
    ADD COLUMN busy boolean NOT NULL DEFAULT false,
    ADD COLUMN network text,
    ADD COLUMN parts bytea NOT NULL DEFAULT '';

ALTER TABLE node ADD COLUMN since timestamptz NOT NULL DEFAULT clock_timestamp();

-- In `change` there is one more kind: `condition`. Its `added` are the accounts of which what `presence` says changed.
