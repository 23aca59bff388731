-- A repeat is read and not written: it waits for nobody who completes the job, and hides it from no claim.
WITH known AS (
    SELECT id FROM jobs WHERE queue = %(queue)s AND key = %(key)s
),
-- Of two that come at once, the second finds nothing and yet conflicts. DO NOTHING would return no row for it. DO UPDATE
-- returns the job as it is: what it sets is what was there.
job AS (
    INSERT INTO jobs (queue, key, payload, urgency, max_attempts, run_at, ready, rank)
    SELECT
        %(queue)s,
        %(key)s,
        %(payload)s::jsonb,
        %(urgency)s,
        %(max_attempts)s,
        due.at,
        %(delay)s::float8 <= 0,
        due.at - make_interval(secs => %(urgency)s * %(boost)s::float8)
    FROM (SELECT clock_timestamp() + make_interval(secs => %(delay)s) AS at) AS due
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (queue, key) DO UPDATE SET urgency = jobs.urgency
    RETURNING id, ready, xmax = 0 AS created
)
SELECT id, false AS created, NULL::text AS told FROM known
UNION ALL
-- The second has the row locked for a moment, in which whom the first has woken may pass it over: so it tells again.
SELECT id, created, CASE WHEN ready THEN pg_notify('jobs', %(queue)s)::text END FROM job
