"""WaveNet (van den Oord et al. 2016) as re-implemented for table 1 of the SampleRNN paper.

Blocks of layers, each a gated convolution over two samples with dilation 1, 2, 4, ... The skip connections of
all layers are summed, and the sum is mapped to the logits of the next sample. No state is carried between
chunks: a chunk begins with a receptive field of samples before its first target.

Two forms compute the same function: ``reference`` is the original's, with general convolutions; ``fast``
writes them as matrix products, omits what no target depends on, and merges the linear output layers.

Shapes: B clips (N sequences, in generation), T samples per chunk, C = dim channels, Q levels, d the dilation
of a layer. Convolutions are "valid" and causal: an output is d samples shorter than its input, and ends with
it. Their weights have the original's four dimensions, (channels out, channels in, taps, 1).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.models import distributions
from samplernn_theano.models.graph import Form, Graph, Sampler
from samplernn_theano.models.layers import block_inputs, chunk_inputs, constant, fed_back
from samplernn_theano.models.lazy_linear import matmul
from samplernn_theano.models.parameters import Draw, Parameters, uniform, zeros


class Layer(NamedTuple):
    """Parameters of a dilated layer. Its output channels are interleaved (quirk)."""

    dilation: int
    W: Expression  # (2 C, n_in, 2, 1): gates in even rows, values in odd ones; n_in: C, or 1 at first
    b: Expression  # (2 C,), interleaved likewise
    W1x1: Expression  # (2 C, C, 1, 1): residual (to the next layer) in even rows, skip in odd ones
    scale: Expression  # () of the skip


class Matrices(NamedTuple):
    """Parameters of a dilated layer as matrices, not interleaved, to multiply from the right."""

    past: Expression  # (n_in, 2 C): gates, then values
    present: Expression  # (n_in, 2 C)
    b: Expression  # (2 C,)
    residual: Expression  # (C, C)
    skip: Expression  # (C, C), scaled


# --- parameters ---------------------------------------------------------------------------------------------


def glorot(shape: tuple[int, ...]) -> Draw:
    """Glorot & Bengio 2010 for a convolution's weight (n_out, n_in, taps, 1), as in Lasagne."""
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

    Quirk: there is no nonlinearity between them, so together they are one linear map.
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
    """The output layers as a single layer: weight (C, Q) and bias (Q,)."""
    (W, b), *others = ((W[..., 0, 0].T, b) for W, b in output_layers(params, hp))
    for W_next, b_next in others:
        W, b = W @ W_next, b @ W_next + b_next
    return W, b


# --- the model over time ------------------------------------------------------------------------------------


def graph(params: Parameters, hp: WaveNet, form: Form = "fast") -> Graph:
    """The model over one truncated-BPTT chunk: cost and logits."""
    sequences, mask, reset = chunk_inputs(params, hp)
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


def predict(params: Parameters, hp: WaveNet, samples: Expression, form: Form = "fast") -> Expression:
    """Logits (B, T, Q) of the samples that follow each receptive field in samples (B, overlap + T - 1)."""
    T = samples.type.shape[1] - hp.overlap + 1
    x = _rescaled(hp, samples, params.dtype)
    if form == "reference":
        return _reference(params, hp, x, T)
    layers = [(layer.dilation, matrices(layer)) for layer in dilated_layers(params, hp)]
    x, skips = x[..., None], []
    for d, m in layers:
        z = gated(matmul(x[:, :-d], m.past) + matmul(x[:, d:], m.present) + m.b)
        skips.append(matmul(z[:, -T:], m.skip))
        if len(skips) < len(layers):
            x = next_input(m, x[:, d:], z)
    W, b = merged_output(params, hp)
    return matmul(sum(skips[1:], start=skips[0]), W) + b


def gated(x: Expression) -> Expression:
    """sigmoid(gates) · tanh(values): x (..., 2 C) is [gates, values]; returns (..., C)."""
    C = x.type.shape[-1] // 2
    return pt.sigmoid(x[..., :C]) * pt.tanh(x[..., C:])


def next_input(m: Matrices, x: Expression, z: Expression) -> Expression:
    """The next layer's input (..., C), from a layer's input x (..., n_in) and gated units z (..., C).

    A residual connection. Quirk: not in the very first layer, unless C is 1, the width of its input.
    """
    y = matmul(z, m.residual)
    return y + x if x.type.shape[-1] == y.type.shape[-1] else y


def _rescaled(hp: WaveNet, samples: Expression, dtype: str) -> Expression:
    """Levels 0..Q-1 rescaled to [-0.5, 0.5]."""
    x = samples.astype(dtype)
    return x / constant(hp.q_levels - 1, x) - constant(0.5, x)


# --- the reference ------------------------------------------------------------------------------------------


def _reference(params: Parameters, hp: WaveNet, x: Expression, T: int) -> Expression:
    """Logits (B, T, Q) from the rescaled input x (B, overlap + T - 1), as the original: channels first."""
    x = x[:, None]
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
    """A valid dilated convolution over time, with the filter not flipped (a cross-correlation).

    x (B, n_in, T), W (n_out, n_in, taps, 1); returns (B, n_out, T - (taps - 1) · dilation).
    """
    taps = W.type.shape[2]
    n = x.type.shape[2] - (taps - 1) * dilation
    starts = range(0, taps * dilation, dilation)
    return sum(W[:, :, k, 0] @ x[:, :, start : start + n] for k, start in enumerate(starts))


# --- the model as a generator -------------------------------------------------------------------------------


def next_logits(params: Parameters, hp: WaveNet, window: Expression) -> Expression:
    """Logits (N, Q) of the sample that follows a receptive field of samples (N, overlap).

    As in the original, which recomputes the receptive field for every sample. `sampler` gives the same with a
    small part of the arithmetic.
    """
    return predict(params, hp, window)[:, 0]


def sampler(params: Parameters, hp: WaveNet, n_seqs: int, n_samples: int, top_p: float = 1.0) -> Sampler:
    """The model as a generator: one scan over samples.

    Every layer has a queue of its last d inputs, so that a sample costs one step of each layer (Le Paine et
    al. 2016, Fast Wavenet Generation Algorithm). The layers of the same dilation share an array,
    (d, blocks, N, C), in which row `time` modulo d holds the oldest inputs and takes the newest. If `reset`
    is 1, the queues are those after an infinite input of silence.
    """
    C, L, K = hp.dim, hp.dilation_layers_per_block, hp.wavenet_blocks
    dilations = [2**i for i in range(L)]
    noise, silent, previous, reset, inverse_temperature = block_inputs(params, hp, n_seqs, n_samples)
    queues = {
        f"queue_{d}": pt.tensor(f"queue_{d}", dtype=params.dtype, shape=(d, K, n_seqs, C)) for d in dilations
    }
    time = pt.tensor("time", dtype="int32", shape=())  # of the next sample, modulo the largest dilation

    layers = [matrices(layer) for layer in dilated_layers(params, hp)]
    past_weights = pt.stack([pt.stack([_padded(m.past, 0, C) for m in layers[i::L]]) for i in range(L)])
    skip_weights = pt.concatenate([m.skip for m in layers])  # (layers · C, C)
    W, b = merged_output(params, hp)

    def step(
        uniforms: Expression, silent: Expression, before: Expression, time: Expression, *queues: Expression
    ) -> list[Expression]:
        """One sample; arguments: uniforms (N,), silent (), the previous sample (N,), time, queues."""
        rows = [time % d for d in dilations]
        oldest = pt.stack([queue[row] for queue, row in zip(queues, rows, strict=True)])  # (L, K, N, C)
        past = pt.matmul(oldest, past_weights)  # (L, K, N, 2 C)
        x = _rescaled(hp, before, params.dtype)[:, None]
        inputs, units = one_step(layers, x, lambda j, x: past[j % L, j // L])
        logits = pt.concatenate(units, axis=1) @ skip_weights @ W + b
        drawn = distributions.draw(hp, logits, {"uniforms": uniforms}, inverse_temperature, top_p)
        drawn = fed_back(hp, silent, drawn)
        newest = [pt.stack([_padded(x, 1, C) for x in inputs[i::L]]) for i in range(L)]  # (K, N, C) each
        new_queues = [pt.set_subtensor(q[row], new) for q, row, new in zip(queues, rows, newest, strict=True)]
        return [drawn, (time + 1) % dilations[-1], *new_queues]

    silence = _rescaled(hp, pt.constant([[hp.silence]], dtype="int32"), params.dtype)
    inputs, _ = one_step(layers, silence, lambda j, x: x @ layers[j].past)
    starts = [pt.stack([_padded(x, 1, C) for x in inputs[i::L]])[None] for i in range(L)]  # (1, K, 1, C) each
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
    """The sampler's queues after reading samples (N, overlap), for `time` 0: row 0 is the oldest.

    The last sample is not in them: the sampler reads it in its first step.
    """
    C, L, K = hp.dim, hp.dilation_layers_per_block, hp.wavenet_blocks
    layers = dilated_layers(params, hp)
    x = _rescaled(hp, samples[:, :-1], params.dtype)[..., None]  # (N, moments, n_in)
    inputs: list[Expression] = []
    for layer in layers:
        d, m = layer.dilation, matrices(layer)
        inputs.append(_padded(x[:, -d:], 2, C).transpose(1, 0, 2))  # (d, N, C)
        if len(inputs) < K * L:
            z = gated(matmul(x[:, :-d], m.past) + matmul(x[:, d:], m.present) + m.b)
            x = next_input(m, x[:, d:], z)
    return {f"queue_{2**i}": pt.stack(inputs[i::L], axis=1) for i in range(L)}


def one_step(
    layers: list[Matrices], x: Expression, past: Callable[[int, Expression], Expression]
) -> tuple[list[Expression], list[Expression]]:
    """One sample x (N, 1) through all layers.

    `past` maps the index and input of a layer to the product (N, 2 C) of its weight and its input d samples
    before. Returns the input of each layer, (N, n_in), and its gated units, (N, C).
    """
    inputs, units = [], []
    for j, m in enumerate(layers):
        inputs.append(x)
        units.append(gated(past(j, x) + x @ m.present + m.b))
        x = next_input(m, x, units[-1])
    return inputs, units


def _padded(x: Expression, axis: int, width: int) -> Expression:
    """x zero-padded along an axis to a width: the first layer has one input channel, not C."""
    missing = width - x.type.shape[axis]
    shape = tuple(missing if i == axis else n for i, n in enumerate(x.type.shape))
    return pt.concatenate([x, pt.zeros(shape, dtype=x.dtype)], axis=axis) if missing else x
