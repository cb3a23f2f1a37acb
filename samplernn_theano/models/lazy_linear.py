"""Deferred linear maps, which can be multiplied with each other before they are applied to data.

Where nothing nonlinear stands between two linear layers, x W V = x (W V). The product W V is computed once
per step, whatever the number of rows of x, and gradients flow through it to both. The original applies the
layers one after the other; the function is the same, the rounding differs by some 1e-6.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pytensor.tensor.variable import TensorVariable as Expression


class LazyLinear(NamedTuple):
    """source @ W + b, not computed yet.

    A `source` of integers selects rows of W (a product with one-hot rows). Without a W it is the result
    itself. With `n` the result is split into n vectors per row of the source, on an axis of their own.
    """

    source: Expression  # (..., n_in), or int32 (...) in 0..n_in - 1
    W: Expression | None = None  # (n_in, n · n_out), or (n_in, n_out) where n is None
    b: Expression | None = None
    n: int | None = None


def matmul(x: Expression, W: Expression) -> Expression:
    """x (..., n_in) @ W (n_in, n_out) as one matrix product: (..., n_out)."""
    if x.ndim == 2:
        return x @ W
    n_in, n_out = W.type.shape
    return (x.reshape((-1, n_in)) @ W).reshape((*x.type.shape[:-1], n_out))


def width(m: LazyLinear) -> int:
    """n_out, the length of the resulting vectors."""
    return m.source.type.shape[-1] if m.W is None else m.W.type.shape[1] // (m.n or 1)


def apply(m: LazyLinear) -> Expression:
    """Compute the map: (..., n_out), or (..., n, n_out) if n is not None."""
    if m.W is None:
        return m.source
    y = m.W[m.source] if is_lookup(m) else matmul(m.source, m.W)
    if m.b is not None:
        y = y + m.b
    return y if m.n is None else y.reshape((*y.type.shape[:-1], m.n, width(m)))


def join(m: LazyLinear, V: Expression) -> LazyLinear:
    """The result of `m` times V (n_out, width), as one map with the weight W V."""
    if m.W is None:
        return LazyLinear(m.source, V)
    n_in, n_out, n = m.W.type.shape[0], width(m), m.n or 1
    W = matmul(m.W.reshape((n_in, n, n_out)), V).reshape((n_in, n * V.type.shape[1]))
    b = None if m.b is None else (m.b.reshape((n, n_out)) @ V).reshape((n * V.type.shape[1],))
    return LazyLinear(m.source, W, b, m.n)


def is_cheaper(m: LazyLinear, V: Expression) -> bool:
    """True if `join` takes fewer multiplications than to apply `m` and then V."""
    if m.W is None:
        return True
    n_in, n_out, n, n_next = m.W.type.shape[0], width(m), m.n or 1, V.type.shape[1]
    rows = math.prod(m.source.type.shape) // (1 if is_lookup(m) else n_in)
    on_rows = 0 if is_lookup(m) else rows * n_in * n
    return n * n_in * n_out * n_next + on_rows * n_next < on_rows * n_out + rows * n * n_out * n_next


def multiply(m: LazyLinear, V: Expression, in_loop: bool = False) -> LazyLinear:
    """The result of `m` times V (n_out, width), in the order that takes fewer multiplications.

    `in_loop`: the product stands in a loop over data, where W V is computed once, outside, and costs nothing.
    """
    return join(m, V) if in_loop or is_cheaper(m, V) else LazyLinear(apply(m), V)


def vector_at(m: LazyLinear, i: int) -> LazyLinear:
    """The map to vector i of the n vectors per row, without an axis of its own."""
    assert m.W is not None
    part = slice(i * width(m), (i + 1) * width(m))
    return LazyLinear(m.source, m.W[:, part], None if m.b is None else m.b[part])


def apply_and_sum(maps: Sequence[LazyLinear]) -> Expression:
    """The sum of the results of `maps`, all of one shape."""
    ys = [apply(m) for m in maps]
    return sum(ys[1:], start=ys[0])


def apply_over_time(m: LazyLinear) -> Expression:
    """The result, (N, B, width) or (N, B, n, width), as a sequence (N · n, B, width)."""
    y = apply(m)
    if y.ndim == 3:
        return y
    N, B, n, last = y.type.shape
    return y.transpose(0, 2, 1, 3).reshape((N * n, B, last))


def is_lookup(m: LazyLinear) -> bool:
    """True if the source is of integers, which select rows of W."""
    return m.source.dtype.startswith("int")
