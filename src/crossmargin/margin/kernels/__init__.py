"""Compiled kernels over large books: positions × risk table, reduced without storing it.

Each module holds a compiled kernel and, beside it, the plain NumPy form that it is held to. numba
is loaded by the modules, so this package imports none of them by itself.
"""
