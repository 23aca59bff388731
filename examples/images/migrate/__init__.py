"""
Numbered .sql files, run once each, while the service goes on.
"""
