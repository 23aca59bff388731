"""
Where workers say how they are, in Postgres: their health, and what their probes have found.
"""
