"""
The HTTP face: post a job, see how it is, and look at the frames.
"""
