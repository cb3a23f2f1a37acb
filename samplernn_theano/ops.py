"""Symbolic operations without a memory: expressions in, expressions out."""

from typing import NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.parameters import Draw, Parameters, default, standard_normal, zeros

# --- linear layers ------------------------------------------------------------------------------------------


class Linear(NamedTuple):
    """The parameters of a linear layer."""

    W: Expression  # (n_in, n_out)
    g: Expression | None  # (n_out,): the length of each effective column; None without weight normalisation
    b: Expression | None  # (n_out,); None without bias


def linear(
    params: Parameters,
    name: str,
    n_in: int,
    n_out: int,
    initial: Draw | None = None,
    bias: bool = True,
    weight_norm: bool = True,
) -> Linear:
    """The parameters `name.W0`, `name.g0` and `name.b` of a linear layer.

    `g0` starts at the lengths of W0's columns, so that weight normalisation changes nothing at first.
    """
    W = params.new(f"{name}.W0", (n_in, n_out), initial or default(n_in, n_out))
    g = b = None
    if weight_norm:
        g = params.new(f"{name}.g0", (n_out,), lambda rng: np.linalg.norm(np.asarray(W.get_value()), axis=0))
    if bias:
        b = params.new(f"{name}.b", (n_out,), zeros(n_out))
    return Linear(W, g, b)


def weight(layer: Linear) -> Expression:
    """The effective weight (n_in, n_out): W · g / ||W||₂ over the first axis, without an epsilon.

    Salimans & Kingma 2016, equation 2.
    """
    if layer.g is None:
        return layer.W
    return layer.W * (layer.g / pt.sqrt(pt.sum(layer.W**2, axis=0)))


def affine(layer: Linear, x: Expression) -> Expression:
    """x (..., n_in) times the effective weight, plus the bias: (..., n_out)."""
    y = matmul(x, weight(layer))
    return y if layer.b is None else y + layer.b


def matmul(x: Expression, W: Expression) -> Expression:
    """x (..., n_in) @ W (n_in, n_out) as one matrix product: (..., n_out)."""
    if x.ndim == 2:
        return x @ W
    n_in, n_out = W.type.shape
    return (x.reshape((-1, n_in)) @ W).reshape((*x.type.shape[:-1], n_out))


def embedding(params: Parameters, name: str, n_symbols: int, width: int) -> Expression:
    """The table `name` (n_symbols, width), standard normal at first, never weight-normalised."""
    return params.new(name, (n_symbols, width), standard_normal(n_symbols, width))


def one_hot(symbols: Expression, n_symbols: int, dtype: str) -> Expression:
    """symbols (...) as rows of the identity: (..., n_symbols)."""
    return pt.eq(symbols[..., None], pt.arange(n_symbols, dtype=symbols.dtype)).astype(dtype)


# --- nonlinearities and costs -------------------------------------------------------------------------------


def constant(value: float, like: Expression) -> Expression:
    """`value` in the dtype of `like`: a plain number could widen a float32 graph to float64."""
    return pt.constant(value, dtype=like.dtype)


def relu(x: Expression) -> Expression:
    """max(x, 0)."""
    return pt.maximum(x, constant(0, x))


def rescale(samples: Expression, q_levels: int, dtype: str) -> Expression:
    """Levels 0..Q-1 to [-2, 2] as they enter a recurrent tier: (x / (Q // 2) - 1) · 2.

    Quirk: Q // 2 is an integer division, so an odd Q does not end at 2.
    """
    x = samples.astype(dtype)
    return (x / constant(q_levels // 2, x) - constant(1, x)) * constant(2, x)


def nll_bits(logits: Expression, targets: Expression) -> Expression:
    """-log2 softmax(logits)[target]: logits (..., Q), targets (...) of integers; returns (...) bits."""
    q_levels = logits.type.shape[-1]
    logits = logits - pt.max(logits, axis=-1, keepdims=True)
    log_sum = pt.log(pt.sum(pt.exp(logits), axis=-1))
    one_hot = pt.eq(targets[..., None], pt.arange(q_levels, dtype=targets.dtype))
    picked = pt.sum(pt.switch(one_hot, logits, constant(0, logits)), axis=-1)
    return (log_sum - picked) * constant(np.log2(np.e), logits)
