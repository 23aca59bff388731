"""
Clients whose every socket operation obeys the deadline of the guarded call around it.
"""
