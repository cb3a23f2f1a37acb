"""MRG31k3p [1], the random numbers that the original's sampler takes from Theano, bit for bit.

Two linear recurrences are combined. With m1 = 2^31 - 1 and m2 = 2^31 - 21069:

    x_t = (2^22 x_{t-2} + (2^7 + 1) x_{t-3}) mod m1
    y_t = (2^15 y_{t-1} + (2^15 + 1) y_{t-3}) mod m2
    z_t = (x_t - y_t) mod m1, where 0 counts as m1
    u_t = z_t / 2^31 (see `NORM`)

The state is (x_t, x_{t-1}, x_{t-2}, y_t, y_{t-1}, y_{t-2}); a step is a product with one matrix for x and one
for y. Every sequence has its own random stream. The streams are 2^72 steps apart on the same cycle.

[1] P. L'Ecuyer, R. Touzin, Fast combined multiple recursive generators with multipliers of the form
a = +-2^q +- 2^r, Proceedings of the 2000 Winter Simulation Conference.
"""

import numpy as np
from numpy.typing import NDArray

M1 = 2**31 - 1
M2 = 2**31 - 21069
STEP_X = np.array([[0, 2**22, 2**7 + 1], [1, 0, 0], [0, 1, 0]], np.uint64)
STEP_Y = np.array([[2**15, 0, 2**15 + 1], [1, 0, 0], [0, 1, 0]], np.uint64)
STREAM = 2**72  # steps from one stream to the next
SEED = 234  # the original's

# Quirk: not 2^-31 as in [1], but the next smaller float32. With 2^-31 the 64 largest z would round to u = 1.
NORM = np.float32((1 - 2**-24) / 2**31)


def states(n_streams: int) -> NDArray[np.int32]:
    """Initial states of the first `n_streams` random streams, (n_streams, 6) int32; sequence b uses stream b.

    Sequences beyond the original's 15,360 streams would share streams there; here each has its own.
    """
    return _orbit(np.full(6, SEED, np.int32), n_streams, STREAM)


def uniforms(states: NDArray[np.int32], n_draws: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The states (n, 6) for the next call, and the next `n_draws` numbers of each stream, (n_draws, n)."""
    history = _orbit(states, n_draws + 1, 1)
    z = history[1:, :, 0] - history[1:, :, 3]
    z[z <= 0] += M1
    return history[-1].copy(), z.astype(np.float32) * NORM


def jump(states: NDArray[np.int32], steps: int) -> NDArray[np.int32]:
    """States (..., 6) after any number of steps, by powers of the two matrices."""
    x, y = np.split(states.astype(np.uint64), 2, axis=-1)
    x = x @ _power(STEP_X, steps, M1).T % M1
    y = y @ _power(STEP_Y, steps, M2).T % M2
    return np.concatenate([x, y], axis=-1).astype(np.int32)


def _orbit(state: NDArray[np.int32], n: int, stride: int) -> NDArray[np.int32]:
    """States after 0, 1, ..., n - 1 times `stride` steps, (n, ..., 6), by repeated doubling."""
    orbit = state[None]
    while len(orbit) < n:
        orbit = np.concatenate([orbit, jump(orbit[: n - len(orbit)], len(orbit) * stride)])
    return orbit


def _power(matrix: NDArray[np.uint64], exponent: int, modulus: int) -> NDArray[np.uint64]:
    """`matrix` (3, 3) to the `exponent`, modulo `modulus` < 2^31 (a sum of three products is below 2^64)."""
    result = np.eye(3, dtype=np.uint64)
    while exponent:
        if exponent % 2:
            result = result @ matrix % modulus
        matrix = matrix @ matrix % modulus
        exponent //= 2
    return result
