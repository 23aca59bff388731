"""
Takes jobs when the guard permits it, and sees that each ends once.
"""
