UPDATE schema_migrations
SET cursor_at = %(cursor_at)s, rows_touched = rows_touched + %(touched)s
WHERE component = %(component)s AND number = %(number)s
