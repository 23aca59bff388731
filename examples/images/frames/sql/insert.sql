-- The bytes are stored only if the frame is new: a job that was drawn twice leaves nothing behind. A row of the job
-- that has no image, from before the database refused those, gets it now.
WITH frame AS (
    INSERT INTO frames (job_id, image_url, sha256)
    VALUES (%(job_id)s, %(image_url)s, %(sha256)s)
    ON CONFLICT (job_id) DO UPDATE
    SET image_url = excluded.image_url, sha256 = excluded.sha256
    WHERE frames_clean_url(frames.image_url) IS NULL
    RETURNING sha256
)
INSERT INTO images (sha256, media_type, content)
SELECT sha256, %(media_type)s, %(content)s FROM frame
ON CONFLICT (sha256) DO NOTHING
