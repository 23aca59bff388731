-- As if it had just come; `reason` and `detail` keep telling why it was dead until the next attempt ends.
WITH job AS (
    UPDATE jobs
    SET state = 'queued',
        ready = true,
        attempts = 0,
        run_at = due.at,
        rank = due.at - make_interval(secs => urgency * %(boost)s::float8),
        finished_at = NULL
    FROM (SELECT clock_timestamp() AS at) AS due
    WHERE queue = %(queue)s AND id = %(id)s AND state = 'dead'
    RETURNING id
)
SELECT id, pg_notify('jobs', %(queue)s)::text FROM job
