"""
A job queue in Postgres: leased, fenced, and at least once.

The folder can be taken as it is: it imports nothing but psycopg and psycopg_pool. `migrations/` makes its one table.
"""

from __future__ import annotations

from .errors import LeaseLostError
from .postgres_queue import PostgresQueue
from .values import Claim, Enqueued, Job

__all__ = ["Claim", "Enqueued", "Job", "LeaseLostError", "PostgresQueue"]
