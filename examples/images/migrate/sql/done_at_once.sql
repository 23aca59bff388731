-- now() is when the transaction began.
INSERT INTO schema_migrations (component, number, name, sha256, state, started_at, finished_at)
VALUES ({component}, {number}, {name}, {sha256}, 'done', now(), clock_timestamp())
ON CONFLICT (component, number) DO UPDATE
SET name = excluded.name, sha256 = excluded.sha256, state = excluded.state, finished_at = excluded.finished_at
WHERE schema_migrations.state <> 'done'
