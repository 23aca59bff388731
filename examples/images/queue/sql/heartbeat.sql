-- One statement for all. It waits for no lock: who holds one is completing that job (its lease does not matter then),
-- or is the reaper (and the next heartbeat will tell).
WITH held AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) AS held (id, token)
),
mine AS MATERIALIZED (
    SELECT jobs.id
    FROM jobs JOIN held ON jobs.id = held.id AND jobs.token = held.token
    WHERE jobs.state = 'running'
    FOR UPDATE OF jobs SKIP LOCKED
),
beaten AS (
    UPDATE jobs
    SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
        heartbeat_at = clock_timestamp()
    FROM mine
    WHERE jobs.id = mine.id
)
SELECT held.token
FROM held
WHERE NOT EXISTS (
    SELECT FROM jobs WHERE jobs.id = held.id AND jobs.token = held.token AND jobs.state = 'running'
)
