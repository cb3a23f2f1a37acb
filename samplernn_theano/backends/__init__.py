"""Compile graphs for jax, numba or c, on one device or several, with a compile cache."""
