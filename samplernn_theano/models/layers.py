"""Layers without a state, and the inputs, initial states and frames that the models share."""

from typing import NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.shared_hyperparameters import Common, Quantised, RealValued, Recurrent
from samplernn_theano.models.lazy_linear import LazyLinear, matmul
from samplernn_theano.models.parameters import Draw, Parameters, default, he, standard_normal, zeros

# --- linear layers ------------------------------------------------------------------------------------------


class Linear(NamedTuple):
    """Parameters of a linear layer."""

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


def deferred(layer: Linear, source: Expression, n: int | None = None) -> LazyLinear:
    """The layer on `source` as a deferred map."""
    return LazyLinear(source, weight(layer), layer.b, n)


def embedding(params: Parameters, name: str, n_symbols: int, width: int) -> Expression:
    """The table `name` (n_symbols, width), standard normal at first, never weight-normalised."""
    return params.new(name, (n_symbols, width), standard_normal(n_symbols, width))


def one_hot(symbols: Expression, n_symbols: int, dtype: str) -> Expression:
    """symbols (...) as one-hot vectors: (..., n_symbols)."""
    return pt.eq(symbols[..., None], pt.arange(n_symbols, dtype=symbols.dtype)).astype(dtype)


# --- nonlinearities and costs -------------------------------------------------------------------------------


def constant(value: float, like: Expression) -> Expression:
    """`value` in the dtype of `like`: a plain number could widen a float32 graph to float64."""
    return pt.constant(value, dtype=like.dtype)


def relu(x: Expression) -> Expression:
    """max(x, 0)."""
    return pt.maximum(x, constant(0, x))


def rescale(samples: Expression, q_levels: int, dtype: str) -> Expression:
    """Rescale levels 0..Q-1 to [-2, 2], the input of a recurrent tier: (x / (Q // 2) - 1) · 2.

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


# --- inputs, initial states and frames ----------------------------------------------------------------------


def samples_dtype(params: Parameters, hp: Common) -> str:
    """int32 for levels, the parameters' dtype for real numbers."""
    return params.dtype if hp.real_valued else "int32"


def chunk_inputs(params: Parameters, hp: Common) -> tuple[Expression, Expression, Expression]:
    """Inputs for a truncated-BPTT chunk: sequences and mask (B, overlap + T), reset ()."""
    shape = (hp.batch_size, hp.overlap + hp.seq_len)
    return (
        pt.tensor("sequences", dtype=samples_dtype(params, hp), shape=shape),
        pt.tensor("mask", dtype=params.dtype, shape=shape),
        pt.tensor("reset", dtype="int32", shape=()),
    )


def block_inputs(
    params: Parameters, hp: Common, n_seqs: int, length: int
) -> tuple[dict[str, Expression], Expression, Expression, Expression, Expression]:
    """Inputs for a block of samples: noise, silent, previous, reset, inverse_temperature; see `Sampler`."""
    names = ("uniforms", "normals") if hp.real_valued else ("uniforms",)
    return (
        {name: pt.tensor(name, dtype=params.dtype, shape=(length, n_seqs)) for name in names},
        pt.tensor("silent", dtype="int32", shape=(length,)),
        pt.tensor("previous", dtype=samples_dtype(params, hp), shape=(n_seqs, hp.overlap)),
        pt.tensor("reset", dtype="int32", shape=()),
        pt.tensor("inverse_temperature", dtype=params.dtype, shape=(n_seqs,)),
    )


def state_input(params: Parameters, hp: Recurrent, name: str, n_seqs: int) -> Expression:
    """The carried state of a stack of recurrent layers as an input, (n_seqs, R, state width)."""
    return pt.tensor(name, dtype=params.dtype, shape=(n_seqs, hp.n_rnn, hp.state_width))


def initial_state(
    params: Parameters, name: str, hp: Recurrent, state: Expression, reset: Expression | None
) -> Expression:
    """The learned initial state `name` (R, state width) of every clip if `reset` is 1, else `state`.

    With `learn_h0` false the parameter exists and stays at zero. Without a `reset` the state is kept.
    """
    shape = (hp.n_rnn, hp.state_width)
    learned = params.new(name, shape, zeros(*shape), trainable=hp.learn_h0)
    if reset is None:
        return state
    return pt.switch(pt.neq(reset, 0), pt.broadcast_to(learned[None], state.type.shape), state)


def he_linear(params: Parameters, hp: Recurrent, name: str, n_in: int, n_out: int) -> Linear:
    """A linear layer with bias, initialised as in He et al. 2015."""
    return linear(params, name, n_in, n_out, he(n_in, n_out), weight_norm=hp.weight_norm)


def fed_back(hp: Quantised | RealValued, silent: Expression, drawn: Expression) -> Expression:
    """The samples that are output and fed back: silence where `silent` is not 0, else `drawn`.

    Real numbers are clipped to full scale, amplitudes of -1 to 1, so that the feedback cannot diverge.
    """
    if isinstance(hp, RealValued):
        mean, std = hp.mean or 0.0, hp.std or 1.0
        low, high = (constant((full - mean) / std, drawn) for full in (-1, 1))
        drawn = pt.clip(drawn, low, high)
    return pt.switch(pt.neq(silent, 0), constant(hp.silence, drawn), drawn)


def frames(x: Expression, size: int) -> Expression:
    """(B, n · size) cut into frames: (n, B, size)."""
    B, length = x.type.shape
    return x.reshape((B, length // size, size)).transpose(1, 0, 2)


def split_last(x: Expression, n: int) -> Expression:
    """(N, B, n · width) as (N, B, n, width)."""
    N, B, width = x.type.shape
    return x.reshape((N, B, n, width // n))


def batch_first(x: Expression) -> Expression:
    """(N, B, n, Q) as (B, N · n, Q)."""
    N, B, n, Q = x.type.shape
    return x.transpose(1, 0, 2, 3).reshape((B, N * n, Q))
