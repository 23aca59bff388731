"""
Play a guard's life with a provider that misbehaves, on virtual time and with real calls in flight.

Run it as ``python -m benchmarks.simulations`` from the root of the repository.
"""
