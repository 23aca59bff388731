SELECT worker, snapshot, seen_seconds_ago
FROM (
    -- Never below 0: the server's clock may be set back.
    SELECT worker, snapshot, greatest(extract(epoch FROM clock_timestamp() - seen_at)::float8, 0) AS seen_seconds_ago
    FROM workers
) AS seen
WHERE seen_seconds_ago <= %(fresh_for)s
ORDER BY worker
