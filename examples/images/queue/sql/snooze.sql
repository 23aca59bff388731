-- The rank stays: it was not the job's fault, so it keeps its place in the line.
WITH job AS (
    UPDATE jobs
    SET state = 'queued',
        ready = %(seconds)s::float8 <= 0,
        attempts = attempts - 1,
        run_at = clock_timestamp() + make_interval(secs => %(seconds)s),
        token = NULL,
        lease_until = NULL
    WHERE id = %(id)s AND token = %(token)s AND state = 'running'
    RETURNING state, ready
)
SELECT state, CASE WHEN ready THEN pg_notify('jobs', %(queue)s)::text END FROM job
