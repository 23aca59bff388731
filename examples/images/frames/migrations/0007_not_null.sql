-- The valid constraint proves it, so Postgres takes it on without looking at a row.
ALTER TABLE frames ALTER COLUMN image_url SET NOT NULL;
