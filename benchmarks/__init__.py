"""
Measure what a guarded call costs, beside what others cost.

Run it as ``python -m benchmarks`` from the root of the repository. Peers that
are not installed are named in the report as not measured.
"""
