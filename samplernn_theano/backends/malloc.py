"""Keep the C library's freed memory between the training steps on a CPU.

XLA allocates all temporaries of a step as one block, and frees it after the step. glibc returns a block of
that size to the system at once, which maps it again page by page: a sixth of a step for a model of dim 256.
"""

import ctypes
import sys

_ARENAS, _MAPPED, _TRIM = -8, -4, -1  # of mallopt in malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD

MIN_ACTIVATIONS = 2**20
"""Of one layer over a chunk. For smaller models the gain is small, and one arena for all threads slows
compilation."""

MAX_ACTIVATIONS = 2**24
"""Beyond it a freed block of the same size may be missing, and the process grows."""


def keep_freed_memory(activations: int) -> None:
    """Keep freed memory, for a layer with this many `activations` per chunk; call it before JAX's first use.

    Only glibc has these options: elsewhere nothing happens. With several processes less is kept: JAX is in
    use before, for their barrier.
    """
    if not MIN_ACTIVATIONS <= activations < MAX_ACTIVATIONS or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    for option, value in ((_ARENAS, 1), (_MAPPED, 0), (_TRIM, -1)):  # all three are necessary
        libc.mallopt(option, value)
