"""
A job queue in Postgres: leased, fenced, and at least once.
"""
