"""Linear maps that are put off, so that one can be multiplied with the next before any data meet it.

Where nothing nonlinear stands between two linear layers, x W V = x (W V). The product W V is made once per
step, whatever the number of rows of x, and gradients flow through it to both. The original multiplies one
after the other; the function is the same, the rounding differs by some 1e-6.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pytensor.tensor.variable import TensorVariable as Expression


class Mapped(NamedTuple):
    """source @ W + b, not carried out yet.

    A `source` of integers stands for rows of the identity: they look up rows of W. Without a W it is the
    result itself. With `n` the result is cut into n vectors for each row of the source, on their own axis.
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


def width(m: Mapped) -> int:
    """n_out, the length of its vectors."""
    return m.source.type.shape[-1] if m.W is None else m.W.type.shape[1] // (m.n or 1)


def carry_out(m: Mapped) -> Expression:
    """(..., n_out), or (..., n, n_out) where there is an n."""
    if m.W is None:
        return m.source
    y = m.W[m.source] if looks_up(m) else matmul(m.source, m.W)
    if m.b is not None:
        y = y + m.b
    return y if m.n is None else y.reshape((*y.type.shape[:-1], m.n, width(m)))


def merge(m: Mapped, V: Expression) -> Mapped:
    """What `m` gives, times V (n_out, width): as one map."""
    if m.W is None:
        return Mapped(m.source, V)
    n_in, n_out, n = m.W.type.shape[0], width(m), m.n or 1
    W = matmul(m.W.reshape((n_in, n, n_out)), V).reshape((n_in, n * V.type.shape[1]))
    b = None if m.b is None else (m.b.reshape((n, n_out)) @ V).reshape((n * V.type.shape[1],))
    return Mapped(m.source, W, b, m.n)


def pays(m: Mapped, V: Expression) -> bool:
    """Whether to merge takes fewer multiplications than to multiply one after the other."""
    if m.W is None:
        return True
    n_in, n_out, n, n_next = m.W.type.shape[0], width(m), m.n or 1, V.type.shape[1]
    rows = math.prod(m.source.type.shape) // (1 if looks_up(m) else n_in)
    on_rows = 0 if looks_up(m) else rows * n_in * n
    return n * n_in * n_out * n_next + on_rows * n_next < on_rows * n_out + rows * n * n_out * n_next


def times(m: Mapped, V: Expression, in_loop: bool = False) -> Mapped:
    """What `m` gives, times V (n_out, width), in the order that takes fewer multiplications.

    `in_loop` says that this stands in a loop over data: W V is made once, outside, and costs nothing.
    """
    return merge(m, V) if in_loop or pays(m, V) else Mapped(carry_out(m), V)


def only(m: Mapped, i: int) -> Mapped:
    """Of the n vectors for each row the one at i, without an axis of its own."""
    assert m.W is not None
    part = slice(i * width(m), (i + 1) * width(m))
    return Mapped(m.source, m.W[:, part], None if m.b is None else m.b[part])


def add_up(maps: Sequence[Mapped]) -> Expression:
    """The sum of what `maps` give, all of one shape."""
    ys = [carry_out(m) for m in maps]
    return sum(ys[1:], start=ys[0])


def in_time(m: Mapped) -> Expression:
    """What `m` gives, (N, B, width) or (N, B, n, width), as a sequence (N · n, B, width)."""
    y = carry_out(m)
    if y.ndim == 3:
        return y
    N, B, n, last = y.type.shape
    return y.transpose(0, 2, 1, 3).reshape((N * n, B, last))


def looks_up(m: Mapped) -> bool:
    """Whether the source is of integers."""
    return m.source.dtype.startswith("int")
