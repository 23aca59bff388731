UPDATE jobs
SET state = 'done',
    token = NULL,
    lease_until = NULL,
    reason = NULL,
    detail = NULL,
    finished_at = clock_timestamp()
WHERE id = %(id)s AND token = %(token)s AND state = 'running'
RETURNING state
