-- Full jitter: anything between nothing and the cap of this attempt, on top of what the provider asked for.
WITH later AS MATERIALIZED (
    SELECT
        attempts >= max_attempts AS exhausted,
        clock_timestamp() + make_interval(
            secs => %(retry_after)s
            + random() * LEAST(%(backoff_cap)s::float8, %(backoff_base)s::float8 * 2.0 ^ LEAST(attempts - 1, 60))
        ) AS at
    FROM jobs
    WHERE id = %(id)s AND token = %(token)s AND state = 'running'
    FOR UPDATE
)
UPDATE jobs
SET state = CASE WHEN exhausted THEN 'dead' ELSE 'queued' END,
    ready = false,
    run_at = CASE WHEN exhausted THEN run_at ELSE later.at END,
    rank = CASE WHEN exhausted THEN rank ELSE later.at - make_interval(secs => urgency * %(boost)s::float8) END,
    token = NULL,
    lease_until = NULL,
    reason = CASE WHEN exhausted THEN 'attempts-exhausted' ELSE %(reason)s END,
    detail = CASE WHEN exhausted THEN %(reason)s || ': ' || %(detail)s ELSE %(detail)s END,
    finished_at = CASE WHEN exhausted THEN clock_timestamp() END
FROM later
WHERE id = %(id)s
RETURNING state
