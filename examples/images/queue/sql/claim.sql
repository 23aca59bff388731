-- Where what waited is due by now, nothing is claimed: it is to be promoted first, for it may rank before the others.
-- To look costs a poll nothing, and to promote each time would cost it a round trip more.
WITH due AS MATERIALIZED (
    -- Not EXISTS, for which a plan may read the table where it expects to meet one soon.
    SELECT NOT %(promoted)s::boolean AND coalesce(min(run_at) <= clock_timestamp(), false) AS is_due
    FROM jobs
    WHERE queue = %(queue)s AND state = 'queued' AND NOT ready
),
-- MATERIALIZED: as a subquery, a plan that runs it once a row would lock and claim more than the limit.
picked AS MATERIALIZED (
    SELECT id
    FROM jobs
    WHERE queue = %(queue)s AND ready AND NOT (SELECT is_due FROM due)
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
SELECT is_due, id, token, attempt, payload, urgency, created_at, lease_until
FROM due LEFT JOIN leased ON true
ORDER BY rank
