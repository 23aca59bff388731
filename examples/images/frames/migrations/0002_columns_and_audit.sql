-- All that is new may be empty, so that the version of the service which knows nothing of it goes on.

CREATE TABLE images (
    sha256 bytea PRIMARY KEY,
    media_type text NOT NULL CHECK (media_type IN ('image/png', 'image/jpeg', 'image/webp')),
    content bytea NOT NULL CHECK (octet_length(content) > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (sha256 = sha256(content))
);

-- Rows from which no URL could be recovered, with all that they held.
CREATE TABLE frames_audit (
    frame_id bigint PRIMARY KEY,
    job_id uuid,
    response jsonb,
    image_url text,
    created_at timestamptz NOT NULL,
    reason text NOT NULL CHECK (reason IN ('no-response', 'no-image-url', 'bad-image-url')),
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Rows that a reader came past and that had no image to show.
CREATE TABLE frames_refetch (
    frame_id bigint PRIMARY KEY,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The URL without the white space around it, or null if a browser could not load it: it has to be an address of the
-- web, or a path of our own; `//host` is neither.
CREATE FUNCTION frames_clean_url(url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN btrim(url, E' \t\n\r\f\v\u00a0') ~* '^(https?:/)?/[^/[:space:]][^[:space:]]*$'
    THEN btrim(url, E' \t\n\r\f\v\u00a0')
END;

-- The URL that a provider's answer holds.
CREATE FUNCTION frames_url_of(response jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN frames_clean_url(response -> 'data' -> 0 ->> 'url');

-- The old version of the service still writes rows while the new one is rolled out, and later migrations refuse those
-- without a URL. So the database fills it in. For a new version's rows the trigger is not even called; drop it when
-- the last old version is gone.
CREATE FUNCTION frames_fill_url() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.image_url := frames_url_of(NEW.response);
    RETURN NEW;
END
$$;

-- Last, as from here on nobody else reads the table: two changes of the catalogue, and no row is looked at.
ALTER TABLE frames ADD COLUMN image_url text, ADD COLUMN sha256 bytea;

CREATE TRIGGER frames_fill_url BEFORE INSERT OR UPDATE OF response ON frames
FOR EACH ROW WHEN (NEW.image_url IS NULL AND NEW.response IS NOT NULL)
EXECUTE FUNCTION frames_fill_url();
