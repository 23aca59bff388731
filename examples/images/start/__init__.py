"""
Start it all on one machine: Postgres, a hostile provider, a worker and the API.
"""
