-- From here on no row without an image gets in. NOT VALID: the rows that are there are not looked at, so the table is
-- locked for a moment only. The check is that of frames_clean_url(), written out: a constraint must not change its mind
-- when a function does.
ALTER TABLE frames
    ADD CONSTRAINT frames_image_url_is_there CHECK (
        image_url IS NOT NULL
        AND image_url ~* '^(https?:/)?/[^/[:space:]][^[:space:]]*$'
    ) NOT VALID,
    ADD CONSTRAINT frames_sha256_is_stored FOREIGN KEY (sha256) REFERENCES images (sha256) NOT VALID;
