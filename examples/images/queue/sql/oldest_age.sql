-- From the indexes, not from 100,000 rows. Of what is ready, none is older than the first in rank unless it ranks before
-- that one's run_at: a rank is never later than the run_at of its own row.
SELECT extract(epoch FROM clock_timestamp() - LEAST(
    (
        SELECT min(run_at)
        FROM jobs
        WHERE queue = %(queue)s AND ready AND rank <= (
            SELECT run_at FROM jobs WHERE queue = %(queue)s AND ready ORDER BY rank LIMIT 1
        )
    ),
    (
        SELECT min(run_at)
        FROM jobs
        WHERE queue = %(queue)s AND state = 'queued' AND NOT ready AND run_at <= (SELECT clock_timestamp())
    )
))::float8 AS age
