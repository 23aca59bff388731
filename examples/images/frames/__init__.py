"""
The images, in Postgres: written once a job, and read past the rows that have none.
"""
