WITH old AS (
    -- A few at a time, so that no probe waits for a long clean-up.
    SELECT id FROM probes
    WHERE started_at < clock_timestamp() - %(kept_for)s
    ORDER BY started_at
    LIMIT 100
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM probes USING old WHERE probes.id = old.id
)
INSERT INTO probes (worker, kind) VALUES (%(worker)s, %(kind)s) RETURNING id
