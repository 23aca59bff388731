"""
Images behind a provider that hangs: a job queue in Postgres, workers, an API and a page; copy what you need.
"""
