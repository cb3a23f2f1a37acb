"""The number of threads, to be set before NumPy and JAX are loaded: this module imports neither."""

import os

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC")
"""Environment variables of OpenMP, OpenBLAS, Numba and XLA, in this order."""


def set_limit(threads: int) -> None:
    """Let every library use at most `threads` threads."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)


def available() -> int:
    """The number of threads to use: the cores available to this process, or the lower limit that was set."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [int(os.environ[name]) for name in THREAD_VARIABLES if os.environ.get(name, "").isdecimal()]
    return max(1, min([cores, *limits]))
