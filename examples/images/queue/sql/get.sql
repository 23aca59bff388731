SELECT
    id, state, attempts, max_attempts, urgency, reason, detail, worker,
    created_at, run_at, started_at, heartbeat_at, finished_at
FROM jobs
WHERE queue = %(queue)s AND id = %(id)s
