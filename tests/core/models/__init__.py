"""
The rules of the core, written again: slow, obvious, and in exact arithmetic.

A model keeps everything it was ever told and works each answer out from the
beginning. Nothing here imports the code that it judges.
"""
