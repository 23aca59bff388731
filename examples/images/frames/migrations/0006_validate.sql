-- migrate: timeout 1h
-- Reads all rows, and blocks neither readers nor writers meanwhile.
ALTER TABLE frames VALIDATE CONSTRAINT frames_image_url_is_there;
ALTER TABLE frames VALIDATE CONSTRAINT frames_sha256_is_stored;
