"""The number of threads, set before NumPy and JAX are loaded: this module imports neither."""

import os

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
"""What OpenMP, OpenBLAS, Numba and XLA read, in this order."""


def limit(threads: int) -> None:
    """Let every library use at most `threads` threads."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
