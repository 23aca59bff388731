CREATE TABLE IF NOT EXISTS schema_migrations (
    component text NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    name text NOT NULL,
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    state text NOT NULL CHECK (state IN ('running', 'failed', 'done')),
    -- How far one that runs in batches has come: the key of the last row that it looked at, and how many it has changed.
    cursor_at bigint,
    rows_touched bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    PRIMARY KEY (component, number),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
)
