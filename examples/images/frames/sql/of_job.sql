SELECT id, job_id, image_url, created_at
FROM frames
WHERE job_id = %(job_id)s
