-- What waited and is due now may be claimed. In batches, so that no poll pays for ten thousand of them.
WITH due AS MATERIALIZED (
    SELECT id
    FROM jobs
    -- In a subquery the clock is read once, and is a bound of the index scan.
    WHERE queue = %(queue)s AND state = 'queued' AND NOT ready AND run_at <= (SELECT clock_timestamp())
    ORDER BY run_at
    LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
),
promoted AS (
    UPDATE jobs SET ready = true WHERE id = ANY (ARRAY(SELECT id FROM due)) RETURNING 1
)
-- The others hear of it if there is more than the one who asks will take.
SELECT count(*), CASE WHEN count(*) > %(limit)s THEN pg_notify('jobs', %(queue)s)::text END FROM promoted
