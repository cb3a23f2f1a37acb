"""Exponential, sigmoid and tanh of a row, in place; LLVM vectorises the loops."""

import numba
import numpy as np

# A product may be fused with a sum, but sums are never reordered: the result for a sequence does not depend
# on the machine code chosen for a loop.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}

# The decorator of functions that are only called from compiled ones:
inner = numba.njit(**OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True)

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # ln 2; n * high is exact
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)
# exp(r) = 1 + r + r^2 q(r) for |r| <= ln 2 / 2; q has the coefficients of the Cephes library's expf.
_CEPHES = "1.9875691500e-4 1.3981999507e-3 8.3334519073e-3 4.1665795894e-2 1.6666665459e-1 5.0000001201e-1"
_C = tuple(map(np.float32, _CEPHES.split()))


@inner
def exponential(x):
    """exp(x) to 2 units in the last place; x outside of [-87, 88] is clipped to it."""
    for j in range(len(x)):
        x[j] = _exp(x[j])


@inner
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    for j in range(len(x)):
        x[j] = _ONE / (_ONE + _exp(-x[j]))


@inner
def tanh(x):
    """1 - 2 / (1 + exp(2 x)): to 1e-7, absolutely."""
    for j in range(len(x)):
        x[j] = _ONE - _TWO / (_ONE + _exp(_TWO * x[j]))


@numba.njit(inline="always")
def _exp(x):
    """2^n exp(r), where x = n ln 2 + r."""
    x = min(max(x, np.float32(-87)), np.float32(88))
    n = np.floor(x * _LOG2E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    q = _C[0]
    q = q * r + _C[1]
    q = q * r + _C[2]
    q = q * r + _C[3]
    q = q * r + _C[4]
    q = q * r + _C[5]
    bits = (np.int32(n) + np.int32(127)) << np.int32(23)
    return (q * (r * r) + r + _ONE) * np.int32(bits).view(np.float32)
