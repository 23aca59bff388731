-- migrate: batches
-- Take the URL out of the provider's answer. Rows that have none go to the audit table: nothing is thrown away.
WITH batch AS MATERIALIZED (
    -- By key, good or bad: looking for bad ones among millions of good ones could take longer than a batch may.
    SELECT id FROM frames WHERE id > coalesce(%(after)s::bigint, 0) ORDER BY id LIMIT %(limit)s
),
bad AS MATERIALIZED (
    SELECT frames.id, frames_url_of(frames.response) AS found
    FROM frames JOIN batch USING (id)
    WHERE frames_clean_url(frames.image_url) IS DISTINCT FROM frames.image_url OR frames.image_url IS NULL
    FOR UPDATE OF frames
),
filled AS (
    UPDATE frames
    SET image_url = coalesce(frames_clean_url(frames.image_url), bad.found)
    FROM bad
    WHERE frames.id = bad.id AND coalesce(frames_clean_url(frames.image_url), bad.found) IS NOT NULL
    RETURNING frames.id
),
taken_out AS (
    DELETE FROM frames
    USING bad
    WHERE frames.id = bad.id AND coalesce(frames_clean_url(frames.image_url), bad.found) IS NULL
    RETURNING frames.*
),
audited AS (
    INSERT INTO frames_audit (frame_id, job_id, response, image_url, created_at, reason)
    SELECT id, job_id, response, image_url, created_at,
        CASE
            WHEN response IS NULL THEN 'no-response'
            -- The rest is white space.
            WHEN coalesce(response -> 'data' -> 0 ->> 'url', image_url, '') !~ '[^[:space:]]' THEN 'no-image-url'
            ELSE 'bad-image-url'
        END
    FROM taken_out
    RETURNING frame_id
)
SELECT
    (SELECT max(id) FROM batch) AS last,
    (SELECT count(*) FROM filled) + (SELECT count(*) FROM audited) AS touched
