SELECT state, count(*) AS jobs FROM jobs WHERE queue = %(queue)s GROUP BY state
