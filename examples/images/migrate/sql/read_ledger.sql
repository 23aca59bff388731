SELECT component, number, name, sha256, state, cursor_at, rows_touched, started_at, finished_at
FROM schema_migrations
