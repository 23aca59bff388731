SELECT id, job_id, image_url, created_at
FROM frames
WHERE id > %(after)s::bigint
ORDER BY id
LIMIT %(limit)s
