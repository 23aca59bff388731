-- DO NOTHING would return no row for a repeat. DO UPDATE returns the job as it is: what it sets is what was there.
WITH job AS (
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
    ON CONFLICT (queue, key) DO UPDATE SET urgency = jobs.urgency
    RETURNING id, ready, xmax = 0 AS created
)
SELECT id, created, CASE WHEN created AND ready THEN pg_notify('jobs', %(queue)s)::text END FROM job
