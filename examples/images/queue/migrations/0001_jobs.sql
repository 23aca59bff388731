-- Jobs of one or several queues, each named by `queue`. Needs PostgreSQL 14.

CREATE TABLE jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    queue text NOT NULL,
    -- The idempotency key: a SHA-256 of what makes two jobs the same one.
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    payload jsonb NOT NULL CHECK (jsonb_typeof(payload) = 'object'),
    urgency smallint NOT NULL DEFAULT 0 CHECK (urgency BETWEEN 0 AND 9),

    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'dead')),
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND max_attempts),
    max_attempts smallint NOT NULL CHECK (max_attempts > 0),

    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Not to be taken before.
    run_at timestamptz NOT NULL,
    -- Queued, and its time has come. A flag, and not a look at the clock, so that the index that claims read holds
    -- nothing that they have to step over: 20,000 urgent jobs that wait for their time may rank before all others.
    ready boolean NOT NULL,
    -- Claims take the smallest: run_at - urgency x boost. A fixed instant, so that a job that waits overtakes, in time,
    -- every one that comes later, however urgent.
    rank timestamptz NOT NULL,

    -- The lease: whoever knows the token may end the job, and nobody else.
    token uuid,
    lease_until timestamptz,
    -- Of the last attempt.
    worker text,
    started_at timestamptz,
    heartbeat_at timestamptz,

    -- Why the last attempt failed, or why it is dead.
    reason text CHECK (btrim(reason) <> ''),
    detail text,
    finished_at timestamptz,

    CONSTRAINT jobs_key_once UNIQUE (queue, key),
    CONSTRAINT jobs_ready_is_queued CHECK (NOT ready OR state = 'queued'),
    CONSTRAINT jobs_queued_has_attempts_left CHECK (state <> 'queued' OR attempts < max_attempts),
    CONSTRAINT jobs_running_has_token CHECK ((state = 'running') = (token IS NOT NULL)),
    CONSTRAINT jobs_running_has_lease CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CONSTRAINT jobs_running_has_begun CHECK (
        state <> 'running'
        OR (attempts > 0 AND worker IS NOT NULL AND started_at IS NOT NULL AND heartbeat_at IS NOT NULL)
    ),
    CONSTRAINT jobs_ended_is_finished CHECK ((state IN ('done', 'dead')) = (finished_at IS NOT NULL)),
    CONSTRAINT jobs_dead_has_reason CHECK (state <> 'dead' OR reason IS NOT NULL)
);

-- What claims read.
CREATE INDEX jobs_ready ON jobs (queue, rank) WHERE ready;
-- What waits for its time.
CREATE INDEX jobs_waiting ON jobs (queue, run_at) WHERE state = 'queued' AND NOT ready;
-- What the reaper reads: only as many as the workers have places, so that it may look at each lease. With `lease_until`
-- in it, each heartbeat would write to every index of the table.
CREATE INDEX jobs_running ON jobs (queue) WHERE state = 'running';
-- The dead letters, for the operator.
CREATE INDEX jobs_dead ON jobs (queue, finished_at) WHERE state = 'dead';

-- Each job is updated a few times and leaves dead entries at the very end of the indexes that claims read: clean up
-- after a thousand, not after a fifth of the table. Room on each page lets a heartbeat stay on it (HOT).
ALTER TABLE jobs SET (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 5000
);
