-- Old rows go in passing. SKIP LOCKED: workers that meet here would else wait for one another, and could do so in a ring.
-- Not its own row: of two changes of one row in one statement, Postgres does one, and does not say which.
WITH old AS (
    SELECT worker FROM workers
    WHERE seen_at < clock_timestamp() - %(kept_for)s AND worker <> %(worker)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM workers USING old WHERE workers.worker = old.worker
)
INSERT INTO workers (worker, seen_at, snapshot)
VALUES (%(worker)s, clock_timestamp(), %(snapshot)s)
ON CONFLICT (worker) DO UPDATE SET seen_at = excluded.seen_at, snapshot = excluded.snapshot
