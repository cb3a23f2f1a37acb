"""Layers without a state, and the inputs, initial states and frames that the models share."""

from collections.abc import Callable

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import Common, Quantised, RealValued, Recurrent
from samplernn_theano.models.parameters import Initial, Parameters, default, he, standard_normal, zeros

# --- linear layers ------------------------------------------------------------------------------------------


def linear(
    params: Parameters,
    hp: Recurrent,
    name: str,
    x: Expression,
    n_out: int,
    initial: Callable[[int, int], Initial] = he,
    bias: bool = True,
) -> Expression:
    """A linear layer: x (..., n_in) W + b, (..., n_out), with W of `weight` and b the parameter `name.b`.

    Its initialisation is that of He et al. 2015, unless another one is given.
    """
    y = matmul(x, weight(params, hp, name, x.type.shape[-1], n_out, initial))
    return y + params.new(f"{name}.b", (n_out,), zeros(n_out)) if bias else y


def weight(
    params: Parameters,
    hp: Recurrent,
    name: str,
    n_in: int,
    n_out: int,
    initial: Callable[[int, int], Initial] = default,
) -> Expression:
    """The effective weight (n_in, n_out) of a linear layer: W0 · g0 / ||W0||₂ over the first axis.

    Weight normalisation (Salimans & Kingma 2016, equation 2), without an epsilon. The parameter `name.g0`
    starts at the lengths of the columns of `name.W0`, so that it changes nothing at first.
    """
    W = params.new(f"{name}.W0", (n_in, n_out), initial(n_in, n_out))
    if not hp.weight_norm:
        return W
    g = params.new(f"{name}.g0", (n_out,), lambda rng: np.linalg.norm(np.asarray(W.get_value()), axis=0))
    return W * (g / pt.sqrt(pt.sum(W**2, axis=0)))


def matmul(x: Expression, W: Expression) -> Expression:
    """x (..., n_in) W (n_in, n_out) as one product of two matrices: (..., n_out)."""
    if x.ndim == 2:
        return pt.dot(x, W)
    n_in, n_out = W.type.shape
    return pt.dot(x.reshape((-1, n_in)), W).reshape((-1, *x.type.shape[1:-1], n_out))


def embedding(params: Parameters, name: str, n_symbols: int, width: int) -> Expression:
    """The table `name` (n_symbols, width), standard normal at first, never weight-normalised."""
    return params.new(name, (n_symbols, width), standard_normal(n_symbols, width))


def one_hot(symbols: Expression, n_symbols: int, dtype: str) -> Expression:
    """symbols (...) as one-hot vectors: (..., n_symbols), rows of the identity matrix."""
    return pt.eye(n_symbols, dtype=dtype)[symbols]


# --- nonlinearities and costs -------------------------------------------------------------------------------


def constant(value: float, like: Expression) -> Expression:
    """`value` in the dtype of `like`: a plain number could widen a float32 graph to float64."""
    return pt.constant(value, dtype=like.dtype)


def relu(x: Expression) -> Expression:
    """max(x, 0)."""
    return pt.maximum(x, constant(0, x))


def rescale(samples: Expression, q_levels: int, dtype: str) -> Expression:
    """Rescale levels 0..Q-1 to -2..2, the input of a recurrent tier: (x / (Q // 2) - 1) · 2.

    Quirk: Q // 2 is an integer division, so only an odd Q ends at 2; an even one ends at 2 - 4 / Q.
    """
    x = samples.astype(dtype)
    return (x / constant(q_levels // 2, x) - constant(1, x)) * constant(2, x)


def nll_bits(logits: Expression, targets: Expression) -> Expression:
    """-log2 softmax(logits)[target]: logits (..., Q), targets (...) of integers; returns (...) bits."""
    q_levels = logits.type.shape[-1]
    logits = logits - pt.max(logits, axis=-1, keepdims=True)
    log_sum = pt.log(pt.sum(pt.exp(logits), axis=-1))
    is_target = pt.eq(targets[..., None], pt.arange(q_levels, dtype=targets.dtype))
    picked = pt.sum(pt.switch(is_target, logits, constant(0, logits)), axis=-1)
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


def state_input(params: Parameters, hp: Recurrent, name: str, n_seqs: int) -> Expression:
    """The carried state of a stack of recurrent layers as an input, (n_seqs, R, state width)."""
    return pt.tensor(name, dtype=params.dtype, shape=(n_seqs, hp.n_rnn, hp.state_width))


def initial_state(
    params: Parameters, name: str, hp: Recurrent, state: Expression, reset: Expression | None
) -> Expression:
    """The learned initial state `name` (R, state width) of every clip if `reset` is 1, else `state`.

    With `learn_h0` false the parameter exists and is not trained. Without a `reset` the state is kept.
    """
    shape = (hp.n_rnn, hp.state_width)
    learned = params.new(name, shape, zeros(*shape), trainable=hp.learn_h0)
    if reset is None:
        return state
    return pt.switch(pt.neq(reset, 0), pt.broadcast_to(learned[None], state.type.shape), state)


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
    _, B, total = x.type.shape
    return x.reshape((-1, B, n, total // n))


def flatten_steps(x: Expression) -> Expression:
    """(N, B, n, width), n vectors per step, as a sequence (N · n, B, width)."""
    N, B, n, width = x.type.shape
    return x.transpose(0, 2, 1, 3).reshape((N * n, B, width))


def batch_first(x: Expression) -> Expression:
    """(N, B, n, Q) as (B, N · n, Q)."""
    N, B, n, Q = x.type.shape
    return x.transpose(1, 0, 2, 3).reshape((B, N * n, Q))
