"""The loop over samples: schedule of the tiers, recurrent layers, draw.

Shapes: n sequences, L samples of a block, FS samples per frame, Q levels, R layers, H the padded width,
G gates per layer (GRU 3, LSTM 4), M the summed width of what reads a tier's input. All arrays are float32
unless noted, all matrices C-contiguous.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.generation.kernels.elementwise import exponential, inner, sigmoid, tanh
from samplernn_theano.generation.kernels.machine_code import compiled
from samplernn_theano.generation.kernels.product import accumulate
from samplernn_theano.generation.kernels.weights import Weights


class Buffers(NamedTuple):
    """Scratch buffers of a tier."""

    frame: NDArray  # (n, FS): the rescaled samples that a step reads
    projected: NDArray  # (n · ratio of the tier above, M): the conditioning of each step, with the bias
    gates: NDArray  # (n, R G H)
    units: NDArray  # (n, H)
    output: NDArray  # (n, H)
    vectors: NDArray  # (n, ratio H): conditioning of the tier below
    x: NDArray  # (n, max(H, Q), padded): a layer of the sample tier
    y: NDArray  # the same: the next layer


def allocate_buffers(weights: Weights, n: int) -> tuple[Buffers, ...]:
    """Allocate the scratch buffers of every tier, for n sequences."""
    buffers, above = [], 0
    widest = max(max(layer.shape[1], layer.shape[0] * layer.shape[2]) for layer in weights.layers)
    x, y = (np.zeros((n, widest), np.float32) for _ in range(2))
    for tier in weights.tiers:
        H, M = tier.skip_bias.size, tier.from_above.shape[0] * tier.from_above.shape[2]
        sizes = (tier.frame_size, tier.bias.size, H, H, tier.upsample_bias.size)
        frame, gates, units, output, vectors = (np.zeros((n, size), np.float32) for size in sizes)
        projected = np.zeros((n * above, M), np.float32)
        buffers.append(Buffers(frame, projected, gates, units, output, vectors, x, y))
        above = tier.ratio
    return tuple(buffers)


@compiled
def generate_block(
    weights, buffers, rescaled, history, states, uniforms, silent, silence, inverse_temperature, top_p
):
    """Generate a block of L samples for n sequences into `history` (n, overlap + L) int32.

    Its first samples are those before the block. `rescaled` (Q,) has the number of each level that enters a
    tier. `states`, one (R, n, state width) per tier, are changed in place: H wide for a GRU, 2 H for an LSTM
    ([s, c]). `uniforms` is (L, n), `inverse_temperature` (n,); `silence` is written where `silent` (L,) is 1.
    """
    n, (L, Q) = len(history), (len(uniforms), len(rescaled))
    for t in range(L):
        now = history.shape[1] - L + t
        logits = predict(weights, buffers, rescaled, history, now, t, states)
        for i in range(n):
            level = draw(logits[i, :Q], uniforms[t, i], inverse_temperature[i], top_p)
            history[i, now] = silence if silent[t] else level


@inner
def predict(weights, buffers, rescaled, history, now, t, states):
    """Logits (n, Q or more) of the sample at history[:, now], the t-th of its block."""
    n, tiers, last = len(history), weights.tiers, len(weights.tiers) - 1
    for k in range(len(tiers)):
        if t % tiers[k].frame_size == 0:
            step = 0 if k == 0 else t % tiers[k - 1].frame_size // tiers[k].frame_size
            _step(tiers[k], buffers[k], step, rescaled, history, now, states[k])
            if k < last:  # the conditioning of the tier below
                vectors, below = buffers[k].vectors, buffers[k + 1].projected
                vectors = vectors.reshape(n * tiers[k].ratio, vectors.shape[1] // tiers[k].ratio)
                _fill(below, tiers[k + 1].bias)
                accumulate(vectors, tiers[k + 1].from_above, below, 0)
    x, y, vectors, tables = buffers[last].x, buffers[last].y, buffers[last].vectors, weights.tables
    FS, H = len(tables), tables.shape[2]
    position = t % tiers[last].ratio * H  # of this sample's vector
    for i in range(len(x)):
        _copy(vectors[i, position : position + H], x[i])
        for j in range(FS):
            _add(x[i], tables[j, history[i, now - FS + j]])
    for layer, bias in zip(weights.layers, weights.biases):  # noqa: B905 (Numba has no strict)
        for i in range(len(x)):
            for j in range(x.shape[1]):
                x[i, j] = max(x[i, j], np.float32(0))
        _fill(y, bias)
        accumulate(x, layer, y, 0)
        x, y = y, x
    return x


@inner
def _step(tier, scratch, step, rescaled, history, now, states):
    """One step of a tier, from its frame to its vectors; the `step`-th with the same vector from above."""
    n, FS = scratch.frame.shape
    _fill(scratch.gates, tier.bias)
    for i in range(n):
        if len(scratch.projected):
            _copy(scratch.projected[i * (len(scratch.projected) // n) + step], scratch.gates[i])
        if len(tier.from_level):
            _add(scratch.gates[i], tier.from_level[history[i, now - 1]])
        else:
            for j in range(FS):
                scratch.frame[i, j] = rescaled[history[i, now - FS + j]]
    accumulate(scratch.frame, tier.from_frame, scratch.gates, 0)
    R = len(states)
    width = tier.bias.size // R  # G H
    for k in range(R):
        if k > 0:
            accumulate(states[k - 1], tier.between[k - 1], scratch.gates, k * width)
        accumulate(states[k], tier.gates[k], scratch.gates, k * width)
        if tier.is_lstm:
            _lstm(scratch.gates, k * width, states[k])
        else:
            _gru(scratch.gates, k * width, states[k], scratch.units, tier.candidates[k])
    _fill(scratch.vectors, tier.upsample_bias)
    if len(tier.skips):
        _fill(scratch.output, tier.skip_bias)
        for k in range(R):
            accumulate(states[k], tier.skips[k], scratch.output, 0)
        accumulate(scratch.output, tier.upsample, scratch.vectors, 0)
    else:
        accumulate(states[R - 1], tier.upsample, scratch.vectors, 0)


@inner
def _gru(gates, first, h, units, candidate):
    """h' = z c + (1 - z) h, from the sums of [z, r, c] in gates[:, first:], the last without h."""
    n, H = units.shape
    for i in range(n):
        zr = gates[i, first : first + 2 * H]
        sigmoid(zr)
        for j in range(H):
            units[i, j] = zr[H + j] * h[i, j]
    accumulate(units, candidate, gates, first + 2 * H)
    for i in range(n):
        z, c = gates[i, first : first + H], gates[i, first + 2 * H : first + 3 * H]
        tanh(c)
        for j in range(H):
            h[i, j] = z[j] * c[j] + (np.float32(1) - z[j]) * h[i, j]


@inner
def _lstm(gates, first, state):
    """c' = c f + g i, s' = tanh(c') o, from the sums of [i, f, o, g] in gates[:, first:]; state is [s, c]."""
    n, H = len(state), state.shape[1] // 2
    for i in range(n):
        sums, s, c = gates[i, first : first + 4 * H], state[i, :H], state[i, H:]
        sigmoid(sums[: 3 * H])
        tanh(sums[3 * H :])
        for j in range(H):
            c[j] = c[j] * sums[H + j] + sums[3 * H + j] * sums[j]
            s[j] = c[j]
        tanh(s)
        for j in range(H):
            s[j] *= sums[2 * H + j]


@inner
def draw(logits, uniform, inverse_temperature, top_p):
    """The first level at which the cumulative softmax(inverse_temperature * logits) (Q,) exceeds `uniform`.

    0 if there is none; -1 if a logit is NaN or the largest one infinite. The logits are overwritten.
    """
    Q = len(logits)
    largest = logits[0]
    for k in range(Q):
        largest = max(largest, logits[k])
    for k in range(Q):
        logits[k] = (logits[k] - largest) * inverse_temperature
    exponential(logits)
    total = np.float32(0)
    for k in range(Q):
        total += logits[k]
    if not largest - largest + total - total == 0:  # NaN or infinite
        return -1
    for k in range(Q):
        logits[k] /= total
    if top_p < 1:
        uniform *= _keep_nucleus(logits, top_p)
    total = np.float32(0)
    for k in range(Q):
        total += logits[k]
        if total > uniform:
            return k
    return 0


@inner
def _keep_nucleus(p, top_p):
    """Keep the fewest most probable levels that have at least `top_p`, with ties; return their sum."""
    lowest, total = np.float32(2), np.float32(0)
    while total < top_p and lowest > 0:
        highest = np.float32(0)
        for value in p:
            if value < lowest:
                highest = max(highest, value)
        lowest = highest
        for value in p:
            if value == lowest:
                total += value
    total = np.float32(0)
    for k in range(len(p)):
        p[k] = p[k] if p[k] >= lowest else np.float32(0)
        total += p[k]
    return total


@inner
def _fill(rows, row):
    """Set each of `rows` to `row`, as far as both reach."""
    for i in range(len(rows)):
        for j in range(min(rows.shape[1], len(row))):
            rows[i, j] = row[j]


@inner
def _copy(x, y):
    for j in range(len(x)):
        y[j] = x[j]


@inner
def _add(x, y):
    for j in range(len(y)):
        x[j] += y[j]
