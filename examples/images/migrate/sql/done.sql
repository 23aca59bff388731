UPDATE schema_migrations
SET state = 'done', finished_at = clock_timestamp()
WHERE component = %(component)s AND number = %(number)s
