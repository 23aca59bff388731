-- SKIP LOCKED: what is locked is being completed, or another reaper has it.
WITH expired AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE queue = %(queue)s AND state = 'running' AND lease_until < (SELECT clock_timestamp())
    ORDER BY lease_until
    LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
),
reaped AS (
    UPDATE jobs
    SET state = CASE WHEN attempts >= max_attempts THEN 'dead' ELSE 'queued' END,
        ready = attempts < max_attempts,
        token = NULL,
        lease_until = NULL,
        reason = 'worker-died',
        detail = format('worker %%s was last heard of at %%s, in attempt %%s', worker, heartbeat_at, attempts),
        finished_at = CASE WHEN attempts >= max_attempts THEN clock_timestamp() END
    WHERE id = ANY (ARRAY(SELECT id FROM expired))
    RETURNING id, ready
)
SELECT
    count(*) AS reaped,
    array_agg(id) FILTER (WHERE NOT ready) AS dead,
    CASE WHEN bool_or(ready) THEN pg_notify('jobs', %(queue)s)::text END FROM reaped
