"""How a graph becomes a program, on jax, numba or c, on one device or several."""
