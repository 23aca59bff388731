"""
Every client, in every situation, with hungframe and without.

``python -m benchmarks.clients`` runs the whole matrix against real sockets. A test runs one cell of it with
:func:`benchmarks.clients.cell.run_cell`.
"""
