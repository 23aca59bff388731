UPDATE probes
SET ended_at = clock_timestamp(), outcome = %(outcome)s, latency_seconds = %(latency_seconds)s
WHERE id = %(id)s AND ended_at IS NULL
RETURNING id
