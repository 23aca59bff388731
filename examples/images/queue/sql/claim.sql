-- MATERIALIZED: as a subquery, a plan that runs it once a row would lock and claim more than the limit.
WITH picked AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE queue = %(queue)s AND ready
    ORDER BY rank
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
leased AS (
    UPDATE jobs
    SET state = 'running',
        ready = false,
        attempts = attempts + 1,
        token = gen_random_uuid(),
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
        worker = %(worker)s,
        started_at = clock_timestamp(),
        heartbeat_at = clock_timestamp()
    FROM picked
    WHERE jobs.id = picked.id
    RETURNING jobs.id, token, attempts AS attempt, payload, urgency, created_at, lease_until, rank
)
SELECT id, token, attempt, payload, urgency, created_at, lease_until FROM leased ORDER BY rank
