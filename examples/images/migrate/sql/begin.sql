-- One that was begun before goes on: its cursor is kept.
INSERT INTO schema_migrations (component, number, name, sha256, state)
VALUES (%(component)s, %(number)s, %(name)s, %(sha256)s, %(state)s)
ON CONFLICT (component, number) DO UPDATE
SET name = excluded.name, sha256 = excluded.sha256, state = excluded.state
WHERE schema_migrations.state <> 'done'
RETURNING cursor_at
