UPDATE jobs
SET state = 'dead',
    token = NULL,
    lease_until = NULL,
    reason = %(reason)s,
    detail = %(detail)s,
    finished_at = clock_timestamp()
WHERE id = %(id)s AND token = %(token)s AND state = 'running'
RETURNING state
