SELECT extract(epoch FROM clock_timestamp() - min(run_at))::float8 AS age
FROM jobs
WHERE queue = %(queue)s AND state = 'queued' AND run_at <= (SELECT clock_timestamp())
