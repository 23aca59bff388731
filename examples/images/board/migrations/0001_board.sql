-- What workers tell of themselves. Neither table has a place for a prompt or an image.

-- One row a worker, written every few seconds: room on each page lets an update stay on it (HOT).
CREATE TABLE workers (
    worker   text PRIMARY KEY CHECK (worker <> ''),
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    snapshot jsonb NOT NULL CHECK (jsonb_typeof(snapshot) = 'object')
) WITH (fillfactor = 50);

CREATE TABLE probes (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker          text NOT NULL CHECK (worker <> ''),
    kind            text NOT NULL CHECK (kind <> ''),
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    outcome         text CHECK (outcome <> ''),
    latency_seconds double precision CHECK (latency_seconds >= 0),
    -- A probe has ended with an outcome and a latency, or with neither.
    CHECK (num_nulls(ended_at, outcome, latency_seconds) IN (0, 3))
);

CREATE INDEX probes_started_at ON probes (started_at);
