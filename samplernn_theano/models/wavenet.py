"""WaveNet (van den Oord et al. 2016) as re-implemented for table 1 of the SampleRNN paper.

Blocks of layers, each a gated convolution over two samples with dilation 1, 2, 4, ... The skip connections of
all layers, each with a learned scale, are summed, and the sum is mapped to the logits of the next sample; the
residual connections lead from layer to layer. No state is carried between chunks, so `reset` is not read: a
chunk begins with a receptive field of samples before its first target.

Shapes: B clips (N sequences, in generation), T samples per chunk, C = dim channels, Q levels, d the dilation
of a layer. Convolutions are "valid" and causal: an output is d samples shorter than its input, and ends with
it. Channels come last. The original's weights have four dimensions, (channels out, channels in, taps, 1).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.models import distributions
from samplernn_theano.models.graph import Draw, GenerationStep, Graph, States
from samplernn_theano.models.layers import chunk_inputs, constant, matmul
from samplernn_theano.models.parameters import Parameters, uniform, zeros


class Layer(NamedTuple):
    """Parameters of a dilated layer as matrices, to multiply from the right."""

    dilation: int
    past: Expression  # (n_in, 2 C), of the sample d before: gates, then values; n_in: C, or 1 at first
    present: Expression  # (n_in, 2 C)
    b: Expression  # (2 C,)
    residual: Expression  # (C, C), to the next layer
    skip: Expression  # (C, C), scaled


# --- parameters ---------------------------------------------------------------------------------------------


def dilated_layers(params: Parameters, hp: WaveNet) -> list[Layer]:
    """The parameters of all dilated layers, the first layer first.

    Quirk: the channels of the outputs of both convolutions are interleaved: gates and residuals are even,
    values and skips odd.
    """
    C, L = hp.dim, hp.dilation_layers_per_block
    layers: list[Layer] = []
    for k in range(1, hp.wavenet_blocks + 1):
        scales = params.new(f"block_{k}.parametrized_weights", (L,), lambda rng: np.ones(L))
        for i in range(1, L + 1):
            name = f"block_{k}.dilation_{i}"
            W = filter_weight(params, f"{name}.W", (2 * C, C if layers else 1, 2, 1))
            b = params.new(f"{name}.b", (2 * C,), zeros(2 * C))
            W1x1 = filter_weight(params, f"{name}.W1x1", (2 * C, C, 1, 1))[..., 0, 0]
            W, b = pt.concatenate([W[0::2], W[1::2]]), pt.concatenate([b[0::2], b[1::2]])
            past, present = W[..., 0, 0].T, W[..., 1, 0].T
            layers.append(Layer(2 ** (i - 1), past, present, b, W1x1[0::2].T, W1x1[1::2].T * scales[i - 1]))
    return layers


def filter_weight(params: Parameters, name: str, shape: tuple[int, ...]) -> Expression:
    """A convolution's weight (n_out, n_in, taps, 1), initialised as in Lasagne (Glorot & Bengio 2010)."""
    return params.new(name, shape, uniform(np.sqrt(2 / ((shape[0] + shape[1]) * np.prod(shape[2:]))), shape))


def output_layers(params: Parameters, hp: WaveNet, x: Expression) -> Expression:
    """From the sum of the skips (..., C) to the logits (..., Q).

    Quirk: there is no nonlinearity between the four layers, so together they are one affine map.
    """
    for name, n_out in (("out_1", hp.dim), ("out_2", hp.dim), ("out_3", hp.dim), ("final", hp.q_levels)):
        W = filter_weight(params, f"{name}.W", (n_out, hp.dim, 1, 1))[..., 0, 0].T
        x = matmul(x, W) + params.new(f"{name}.b", (n_out,), zeros(n_out))
    return x


# --- the model over time ------------------------------------------------------------------------------------


def graph(params: Parameters, hp: WaveNet) -> Graph:
    """The model over one truncated-BPTT chunk: cost and logits."""
    sequences, mask, reset = chunk_inputs(params, hp)
    logits = predict(params, hp, sequences[:, :-1])
    targets, target_mask = (x[:, hp.overlap :] for x in (sequences, mask))
    nll = distributions.nll(hp, logits, targets, target_mask)
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states={},
        new_states={},
        total=pt.sum(nll),
        count=pt.sum(target_mask),
        nll=nll,
        logits=logits,
    )


def predict(params: Parameters, hp: WaveNet, samples: Expression) -> Expression:
    """Logits (B, T, Q) of the samples that follow each receptive field in samples (B, overlap + T - 1)."""
    T = samples.type.shape[1] - hp.overlap + 1
    x = rescaled(hp, samples, params.dtype)[..., None]  # (B, overlap + T - 1, 1)
    skips = []
    for layer in dilated_layers(params, hp):
        z = gated(convolved(layer, x))
        skips.append(matmul(z[:, -T:], layer.skip))  # no target depends on earlier positions
        x = next_input(layer, x[:, layer.dilation :], z)
    return output_layers(params, hp, sum(skips[1:], start=skips[0]))


def convolved(layer: Layer, x: Expression) -> Expression:
    """x (B, n, n_in) through a layer's convolution, which is not flipped: (B, n - d, 2 C)."""
    d = layer.dilation
    return matmul(x[:, :-d], layer.past) + matmul(x[:, d:], layer.present) + layer.b


def gated(x: Expression) -> Expression:
    """sigmoid(gates) · tanh(values): x (..., 2 C) is [gates, values]; returns (..., C)."""
    C = x.type.shape[-1] // 2
    return pt.sigmoid(x[..., :C]) * pt.tanh(x[..., C:])


def next_input(layer: Layer, x: Expression, z: Expression) -> Expression:
    """The next layer's input (..., C), from a layer's input x (..., n_in) and gated units z (..., C).

    A residual connection. Quirk: not in the very first layer, unless C is 1, the width of its input.
    """
    y = matmul(z, layer.residual)
    return y + x if x.type.shape[-1] == y.type.shape[-1] else y


def rescaled(hp: WaveNet, samples: Expression, dtype: str) -> Expression:
    """Levels 0..Q-1 rescaled to [-0.5, 0.5]."""
    x = samples.astype(dtype)
    return x / constant(hp.q_levels - 1, x) - constant(0.5, x)


# --- the model as a generator -------------------------------------------------------------------------------


def next_logits(params: Parameters, hp: WaveNet, window: Expression) -> Expression:
    """Logits (N, Q) of the sample that follows a receptive field of samples (N, overlap).

    As in the original, which recomputes the receptive field for every sample; `generation_step` gives the
    same with a small part of the arithmetic.
    """
    return predict(params, hp, window)[:, 0]


def generation_step(params: Parameters, hp: WaveNet, n_seqs: int) -> GenerationStep:
    """The model as a generator, one sample per step.

    Every layer has a queue of its last d inputs, so that a sample costs one step of each layer (Le Paine et
    al. 2016, Fast Wavenet Generation Algorithm). The layers of the same dilation share an array,
    (d, blocks, N, C), in which row `time` modulo d holds the oldest inputs and takes the newest. If `reset`
    is 1, the queues are those after an infinite input of silence.
    """
    C, L, K = hp.dim, hp.dilation_layers_per_block, hp.wavenet_blocks
    dilations = [2**i for i in range(L)]
    states = {"time": pt.tensor("time", dtype="int32", shape=())} | {
        f"queue_{d}": pt.tensor(f"queue_{d}", dtype=params.dtype, shape=(d, K, n_seqs, C)) for d in dilations
    }  # time: of the next sample, modulo the largest dilation
    layers = dilated_layers(params, hp)
    past_weights = pt.stack([pt.stack([_padded(m.past, 0, C) for m in layers[i::L]]) for i in range(L)])
    skip_weights = pt.concatenate([m.skip for m in layers])  # (layers · C, C)

    def step(before: Expression, state: States, draw: Draw) -> tuple[Expression, States]:
        """One sample, from the one before it, (N, 1)."""
        time, *queues = state.values()
        rows = [time % d for d in dilations]
        oldest = pt.stack([queue[row] for queue, row in zip(queues, rows, strict=True)])  # (L, K, N, C)
        past = pt.matmul(oldest, past_weights)  # (L, K, N, 2 C)
        x = rescaled(hp, before, params.dtype)
        inputs, units = one_step(layers, x, lambda j, x: past[j % L, j // L])
        skips = pt.dot(pt.concatenate(units, axis=1), skip_weights)
        drawn = draw(output_layers(params, hp, skips), 0)
        newest = [pt.stack([_padded(x, 1, C) for x in inputs[i::L]]) for i in range(L)]  # (K, N, C) each
        new_queues = [pt.set_subtensor(q[row], new) for q, row, new in zip(queues, rows, newest, strict=True)]
        return drawn[:, None], dict(zip(states, [(time + 1) % dilations[-1], *new_queues], strict=True))

    def start(reset: Expression) -> States:
        silence = rescaled(hp, pt.constant([[hp.silence]], dtype="int32"), params.dtype)
        inputs, _ = one_step(layers, silence, lambda j, x: pt.dot(x, layers[j].past))
        queues = [pt.stack([_padded(x, 1, C) for x in inputs[i::L]])[None] for i in range(L)]  # (1, K, 1, C)
        return {
            name: pt.switch(pt.neq(reset, 0), pt.broadcast_to(first, state.type.shape), state)
            for (name, state), first in zip(
                states.items(), [pt.constant(0, dtype="int32"), *queues], strict=True
            )
        }

    return GenerationStep(1, step, states, start)


def queues_after(params: Parameters, hp: WaveNet, samples: Expression) -> dict[str, Expression]:
    """The sampler's queues after reading samples (N, overlap), for `time` 0: row 0 is the oldest.

    The last sample is not in them: the sampler reads it in its first step.
    """
    C, L = hp.dim, hp.dilation_layers_per_block
    x = rescaled(hp, samples[:, :-1], params.dtype)[..., None]  # (N, steps, n_in)
    inputs: list[Expression] = []
    layers = dilated_layers(params, hp)
    for layer in layers:
        d = layer.dilation
        inputs.append(_padded(x[:, -d:], 2, C).transpose(1, 0, 2))  # (d, N, C)
        if layer is not layers[-1]:
            x = next_input(layer, x[:, d:], gated(convolved(layer, x)))
    return {f"queue_{2**i}": pt.stack(inputs[i::L], axis=1) for i in range(L)}


def one_step(
    layers: list[Layer], x: Expression, past: Callable[[int, Expression], Expression]
) -> tuple[list[Expression], list[Expression]]:
    """One sample x (N, 1) through all layers.

    `past` maps the index and input of a layer to the product (N, 2 C) of its weight and its input d samples
    before. Returns the input of each layer, (N, n_in), and its gated units, (N, C).
    """
    inputs, units = [], []
    for j, layer in enumerate(layers):
        inputs.append(x)
        units.append(gated(past(j, x) + pt.dot(x, layer.present) + layer.b))
        x = next_input(layer, x, units[-1])
    return inputs, units


def _padded(x: Expression, axis: int, width: int) -> Expression:
    """x zero-padded along an axis to a width: the first layer has one input channel, not C."""
    missing = width - x.type.shape[axis]
    shape = tuple(missing if i == axis else n for i, n in enumerate(x.type.shape))
    return pt.concatenate([x, pt.zeros(shape, dtype=x.dtype)], axis=axis) if missing else x
