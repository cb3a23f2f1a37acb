"""The C library's memory, kept between the steps of a training on a CPU.

XLA asks for all intermediate results of a step in one piece, and frees it after the step. glibc gives a
piece of that size back to the system at once, which hands it out anew page by page: with a model of dim 256 a
sixth of a step went there. Kept, the memory is there for the next step.
"""

import ctypes
import sys

_ARENAS, _MAPPED, _TRIM = -8, -4, -1  # of mallopt in malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD

MANY = 2**20
"""Numbers in one layer over a pass from which on it pays: one arena for all threads slows compiling."""


TOO_MANY = 2**24
"""From which on a piece is so large that none of the same size may be free, and the process grows instead."""


def keep_freed_memory(numbers: int) -> None:
    """Keep what is freed, where a layer has so many `numbers` that it pays; before JAX's first use.

    glibc alone has these switches: elsewhere nothing happens. Several processes use JAX to meet before this
    is called, so some of its threads have arenas of their own there, and less is kept.
    """
    if not MANY <= numbers < TOO_MANY or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    for switch, value in ((_ARENAS, 1), (_MAPPED, 0), (_TRIM, -1)):  # it takes all three
        libc.mallopt(switch, value)
