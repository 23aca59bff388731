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
    -- Not a join: a plan made before the limit is known would expect a tenth of the table, and read all of it (20 ms).
    WHERE id = ANY (ARRAY(SELECT id FROM picked))
    RETURNING id, token, attempts AS attempt, payload, urgency, created_at, lease_until, rank
)
SELECT id, token, attempt, payload, urgency, created_at, lease_until FROM leased ORDER BY rank
