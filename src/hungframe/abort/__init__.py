"""
Nobody but this folder cancels, abandons or kills.
"""
