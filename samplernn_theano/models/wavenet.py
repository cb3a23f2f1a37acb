"""WaveNet (van den Oord et al. 2016) as the paper re-implements it, for the comparisons of its table 1.

Blocks of layers, each a gated convolution over two samples that are 1, 2, 4, ... apart. What every layer
hands to the output (its skip) is summed, and the sum mapped to the logits of the next sample. Nothing is
carried from one pass to the next: a pass begins with a receptive field of samples before its first target.

Two forms compute the same function: ``reference`` is the original's, with general convolutions; ``fast``
writes them as matrix products, leaves out what reaches no target, and merges the linear maps of the output.

Shapes: B clips (N sequences, in generation), T samples per pass, C = dim channels, Q levels, d the dilation
of a layer. Convolutions are "valid": what a layer gives is d samples shorter than what it reads, and ends
with it. Their weights have the original's four dimensions, (channels out, channels in, taps, 1).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.models import distributions, rnn
from samplernn_theano.models.graph import Graph, Sampler
from samplernn_theano.models.layers import block_inputs, constant, heard, pass_inputs
from samplernn_theano.models.lazy_linear import matmul
from samplernn_theano.models.parameters import Draw, Parameters, uniform, zeros


class Layer(NamedTuple):
    """The parameters of a dilated layer. Its output channels are interleaved (quirk)."""

    dilation: int
    W: Expression  # (2 C, n_in, 2, 1): gates in even rows, values in odd ones; n_in: C, or 1 at first
    b: Expression  # (2 C,): likewise
    W1x1: Expression  # (2 C, C, 1, 1): what goes on to the next layer in even rows, the skip in odd ones
    scale: Expression  # () of the skip


class Matrices(NamedTuple):
    """The same, not interleaved, and transposed: each multiplies rows from the right."""

    past: Expression  # (n_in, 2 C): gates, then values
    present: Expression  # (n_in, 2 C)
    b: Expression  # (2 C,)
    onward: Expression  # (C, C)
    skip: Expression  # (C, C), scaled


# --- parameters ---------------------------------------------------------------------------------------------


def glorot(shape: tuple[int, ...]) -> Draw:
    """Glorot & Bengio 2010 for a convolution's weight (n_out, n_in, taps, 1), as Lasagne has it."""
    return uniform(np.sqrt(2 / ((shape[0] + shape[1]) * np.prod(shape[2:]))), shape)


def dilated_layers(params: Parameters, hp: WaveNet) -> list[Layer]:
    """The parameters of all dilated layers, the first layer first."""
    C, L = hp.dim, hp.dilation_layers_per_block
    layers: list[Layer] = []
    for k in range(1, hp.wavenet_blocks + 1):
        scales = params.new(f"block_{k}.parametrized_weights", (L,), lambda rng: np.ones(L))
        for i in range(1, L + 1):
            name = f"block_{k}.dilation_{i}"
            shape, shape1x1 = (2 * C, C if layers else 1, 2, 1), (2 * C, C, 1, 1)
            W = params.new(f"{name}.W", shape, glorot(shape))
            b = params.new(f"{name}.b", (2 * C,), zeros(2 * C))
            W1x1 = params.new(f"{name}.W1x1", shape1x1, glorot(shape1x1))
            layers.append(Layer(2 ** (i - 1), W, b, W1x1, scales[i - 1]))
    return layers


def output_layers(params: Parameters, hp: WaveNet) -> list[tuple[Expression, Expression]]:
    """Weight (n_out, C, 1, 1) and bias (n_out,) of the four layers from the sum of the skips to the logits.

    Quirk: no nonlinearity stands between them, so together they are one linear map.
    """
    layers = []
    for name, n_out in (("out_1", hp.dim), ("out_2", hp.dim), ("out_3", hp.dim), ("final", hp.q_levels)):
        shape = (n_out, hp.dim, 1, 1)
        W = params.new(f"{name}.W", shape, glorot(shape))
        layers.append((W, params.new(f"{name}.b", (n_out,), zeros(n_out))))
    return layers


def matrices(layer: Layer) -> Matrices:
    """The parameters of a layer as matrices."""
    W, b, W1x1 = layer.W[..., 0], layer.b, layer.W1x1[..., 0, 0]
    W, b = pt.concatenate([W[0::2], W[1::2]]), pt.concatenate([b[0::2], b[1::2]])
    return Matrices(W[..., 0].T, W[..., 1].T, b, W1x1[0::2].T, W1x1[1::2].T * layer.scale)


def merged_output(params: Parameters, hp: WaveNet) -> tuple[Expression, Expression]:
    """The output layers as one: weight (C, Q) and bias (Q,)."""
    (W, b), *others = ((W[..., 0, 0].T, b) for W, b in output_layers(params, hp))
    for W_next, b_next in others:
        W, b = W @ W_next, b @ W_next + b_next
    return W, b


# --- the model over time ------------------------------------------------------------------------------------


def graph(params: Parameters, hp: WaveNet, form: rnn.Form = "fast") -> Graph:
    """The model over one pass: cost and logits."""
    sequences, mask, reset = pass_inputs(params, hp)
    logits = predict(params, hp, sequences[:, :-1], form)
    targets, counts = (x[:, hp.overlap :] for x in (sequences, mask))
    nll = distributions.nll(hp, logits, targets, counts)
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states={},
        new_states={},
        total=pt.sum(nll),
        count=pt.sum(counts),
        nll=nll,
        logits=logits,
    )


def predict(params: Parameters, hp: WaveNet, samples: Expression, form: rnn.Form = "fast") -> Expression:
    """Logits (B, T, Q) of the samples that follow each receptive field in samples (B, overlap + T - 1)."""
    T = samples.type.shape[1] - hp.overlap + 1
    numbers = _numbers(hp, samples, params.dtype)
    if form == "reference":
        return _reference(params, hp, numbers, T)
    layers = [(layer.dilation, matrices(layer)) for layer in dilated_layers(params, hp)]
    x, skips = numbers[..., None], []
    for d, m in layers:
        z = gated(matmul(x[:, :-d], m.past) + matmul(x[:, d:], m.present) + m.b)
        skips.append(matmul(z[:, -T:], m.skip))
        if len(skips) < len(layers):
            x = onward(m, x[:, d:], z)
    W, b = merged_output(params, hp)
    return matmul(sum(skips[1:], start=skips[0]), W) + b


def gated(x: Expression) -> Expression:
    """sigmoid(gates) · tanh(values): x (..., 2 C) is [gates, values]; returns (..., C)."""
    C = x.type.shape[-1] // 2
    return pt.sigmoid(x[..., :C]) * pt.tanh(x[..., C:])


def onward(m: Matrices, x: Expression, z: Expression) -> Expression:
    """What the next layer reads (..., C), from a layer's input x (..., n_in) and gated units z (..., C).

    The input is added to it. Quirk: not in the very first layer, unless C is 1 as the input's width is.
    """
    y = matmul(z, m.onward)
    return y + x if x.type.shape[-1] == y.type.shape[-1] else y


def _numbers(hp: WaveNet, samples: Expression, dtype: str) -> Expression:
    """Levels 0..Q-1 to [-0.5, 0.5]."""
    x = samples.astype(dtype)
    return x / constant(hp.q_levels - 1, x) - constant(0.5, x)


# --- the reference ------------------------------------------------------------------------------------------


def _reference(params: Parameters, hp: WaveNet, numbers: Expression, T: int) -> Expression:
    """Logits (B, T, Q) as the original computes them from numbers (B, overlap + T - 1): channels first."""
    x = numbers[:, None]
    skips = []
    for layer in dilated_layers(params, hp):
        y = convolve(x, layer.W, layer.dilation) + layer.b[:, None]
        z = pt.tanh(y[:, 1::2]) * pt.sigmoid(y[:, 0::2])
        y = convolve(z, layer.W1x1)
        n, n_in = y.type.shape[2], x.type.shape[1]
        x = y[:, 0::2] + x[:, :, -n:] if n_in == hp.dim else y[:, 0::2]
        skips.append(y[:, 1::2] * layer.scale)
    x = sum(skip[:, :, -T:] for skip in skips)
    for W, b in output_layers(params, hp):
        x = convolve(x, W) + b[:, None]
    return x.transpose(0, 2, 1)


def convolve(x: Expression, W: Expression, dilation: int = 1) -> Expression:
    """A valid convolution over time whose taps are `dilation` apart; not flipped (a correlation).

    x (B, n_in, T), W (n_out, n_in, taps, 1); returns (B, n_out, T - (taps - 1) · dilation).
    """
    taps = W.type.shape[2]
    n = x.type.shape[2] - (taps - 1) * dilation
    starts = range(0, taps * dilation, dilation)
    return sum(W[:, :, k, 0] @ x[:, :, start : start + n] for k, start in enumerate(starts))


# --- the model as a generator -------------------------------------------------------------------------------


def next_logits(params: Parameters, hp: WaveNet, window: Expression) -> Expression:
    """Logits (N, Q) of the sample that follows a receptive field of samples (N, overlap).

    As the original generates, which computes all of this for every sample. `sampler` does the same with a
    small part of the arithmetic.
    """
    return predict(params, hp, window)[:, 0]


def sampler(params: Parameters, hp: WaveNet, n_seqs: int, n_samples: int, top_p: float = 1.0) -> Sampler:
    """The model as a generator: one scan over samples.

    Every layer keeps a queue of the last d vectors that it read, so that a sample costs one step of each
    layer (Le Paine et al. 2016, Fast Wavenet Generation Algorithm). The layers of the same dilation share an
    array, (d, blocks, N, C), of which row `time` modulo d holds the oldest vectors and takes the newest.
    Where `reset` is 1 the queues hold what silence, heard for ever, would have left in them.
    """
    C, L, K = hp.dim, hp.dilation_layers_per_block, hp.wavenet_blocks
    dilations = [2**i for i in range(L)]
    noise, silent, previous, reset, inverse_temperature = block_inputs(params, hp, n_seqs, n_samples)
    queues = {
        f"queue_{d}": pt.tensor(f"queue_{d}", dtype=params.dtype, shape=(d, K, n_seqs, C)) for d in dilations
    }
    time = pt.tensor("time", dtype="int32", shape=())  # of the next sample, modulo the largest dilation

    layers = [matrices(layer) for layer in dilated_layers(params, hp)]
    past_weights = pt.stack([pt.stack([_widened(m.past, 0, C) for m in layers[i::L]]) for i in range(L)])
    skip_weights = pt.concatenate([m.skip for m in layers])  # (layers · C, C)
    W, b = merged_output(params, hp)

    def step(
        uniforms: Expression, silent: Expression, before: Expression, time: Expression, *queues: Expression
    ) -> list[Expression]:
        """One sample: from uniforms (N,), silent (), the sample before (N,), time and queues."""
        rows = [time % d for d in dilations]
        oldest = pt.stack([queue[row] for queue, row in zip(queues, rows, strict=True)])  # (L, K, N, C)
        past = pt.matmul(oldest, past_weights)  # (L, K, N, 2 C)
        x = _numbers(hp, before, params.dtype)[:, None]
        read, units = one_step(layers, x, lambda j, x: past[j % L, j // L])
        logits = pt.concatenate(units, axis=1) @ skip_weights @ W + b
        drawn = distributions.draw(hp, logits, {"uniforms": uniforms}, inverse_temperature, top_p)
        drawn = heard(hp, silent, drawn)
        newest = [pt.stack([_widened(x, 1, C) for x in read[i::L]]) for i in range(L)]  # (K, N, C) each
        new_queues = [pt.set_subtensor(q[row], new) for q, row, new in zip(queues, rows, newest, strict=True)]
        return [drawn, (time + 1) % dilations[-1], *new_queues]

    silence = _numbers(hp, pt.constant([[hp.silence]], dtype="int32"), params.dtype)
    read, _ = one_step(layers, silence, lambda j, x: x @ layers[j].past)
    starts = [pt.stack([_widened(x, 1, C) for x in read[i::L]])[None] for i in range(L)]  # (1, K, 1, C) each
    is_reset = pt.neq(reset, 0)
    samples, *states = pytensor.scan(
        step,
        sequences=[noise["uniforms"], silent],
        outputs_info=[
            previous[:, -1],
            pt.switch(is_reset, pt.zeros_like(time), time),
            *(
                pt.switch(is_reset, pt.broadcast_to(start, queue.type.shape), queue)
                for start, queue in zip(starts, queues.values(), strict=True)
            ),
        ],
        return_updates=False,
    )
    states_in = {"time": time} | queues
    return Sampler(
        parameters=params,
        noise=noise,
        silent=silent,
        previous=previous,
        reset=reset,
        inverse_temperature=inverse_temperature,
        states=states_in,
        new_states={name: values[-1] for name, values in zip(states_in, states, strict=True)},
        samples=samples.T,
    )


def queues_after(params: Parameters, hp: WaveNet, samples: Expression) -> dict[str, Expression]:
    """The sampler's queues when it has heard samples (N, overlap) and `time` is 0: a row for each moment.

    The last of the samples is not in them: the sampler reads it first. With `time` at 0 row 0 is the oldest.
    """
    C, L, K = hp.dim, hp.dilation_layers_per_block, hp.wavenet_blocks
    layers = dilated_layers(params, hp)
    x = _numbers(hp, samples[:, :-1], params.dtype)[..., None]  # (N, moments, n_in)
    read: list[Expression] = []
    for layer in layers:
        d, m = layer.dilation, matrices(layer)
        read.append(_widened(x[:, -d:], 2, C).transpose(1, 0, 2))  # (d, N, C)
        if len(read) < K * L:
            z = gated(matmul(x[:, :-d], m.past) + matmul(x[:, d:], m.present) + m.b)
            x = onward(m, x[:, d:], z)
    return {f"queue_{2**i}": pt.stack(read[i::L], axis=1) for i in range(L)}


def one_step(
    layers: list[Matrices], x: Expression, past: Callable[[int, Expression], Expression]
) -> tuple[list[Expression], list[Expression]]:
    """One sample x (N, 1) through all layers.

    `past` maps the index of a layer and what it reads to its product (N, 2 C) with what it read d samples
    before. Returns what each layer reads, (N, n_in), and its gated units, (N, C).
    """
    read, units = [], []
    for j, m in enumerate(layers):
        read.append(x)
        units.append(gated(past(j, x) + x @ m.present + m.b))
        x = onward(m, x, units[-1])
    return read, units


def _widened(x: Expression, axis: int, width: int) -> Expression:
    """x with zeros added along an axis, up to a width: the first layer reads one channel, not C."""
    missing = width - x.type.shape[axis]
    shape = tuple(missing if i == axis else n for i, n in enumerate(x.type.shape))
    return pt.concatenate([x, pt.zeros(shape, dtype=x.dtype)], axis=axis) if missing else x
