"""What several models share: inputs, initial states, and the shapes of frames."""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.hyperparameters import HyperParameters, RealValued, Recurrent
from samplernn_theano.ops import Linear, constant, linear
from samplernn_theano.parameters import Parameters, he, zeros


def samples_dtype(params: Parameters, hp: HyperParameters) -> str:
    """int32 for levels, the parameters' dtype for real numbers."""
    return params.dtype if hp.real_valued else "int32"


def pass_inputs(params: Parameters, hp: HyperParameters) -> tuple[Expression, Expression, Expression]:
    """The inputs of a truncated-BPTT pass: sequences and mask (B, overlap + T), reset ()."""
    shape = (hp.batch_size, hp.overlap + hp.seq_len)
    return (
        pt.tensor("sequences", dtype=samples_dtype(params, hp), shape=shape),
        pt.tensor("mask", dtype=params.dtype, shape=shape),
        pt.tensor("reset", dtype="int32", shape=()),
    )


def block_inputs(
    params: Parameters, hp: HyperParameters, n_seqs: int, length: int
) -> tuple[dict[str, Expression], Expression, Expression, Expression, Expression]:
    """Noise, silent, previous, reset and inverse_temperature of a block of samples, as in `Sampler`."""
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
    """`state`, or where `reset` is 1 the learned state `name` (R, state width), the same for every clip.

    With `learn_h0` false the parameter exists, and stays at zero. Without a `reset` the state is kept.
    """
    shape = (hp.n_rnn, hp.state_width)
    learned = params.new(name, shape, zeros(*shape), trainable=hp.learn_h0)
    if reset is None:
        return state
    return pt.switch(pt.neq(reset, 0), pt.broadcast_to(learned[None], state.type.shape), state)


def he_linear(params: Parameters, hp: Recurrent, name: str, n_in: int, n_out: int) -> Linear:
    """A linear layer with bias that starts as He et al. 2015 have it."""
    return linear(params, name, n_in, n_out, he(n_in, n_out), weight_norm=hp.weight_norm)


def heard(hp: HyperParameters, silent: Expression, drawn: Expression) -> Expression:
    """What is written out and fed back: `drawn`, or where `silent` is not 0, silence.

    Real numbers are held within full scale, amplitudes of -1 to 1: nothing else would keep what is fed back
    from growing without limit.
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
