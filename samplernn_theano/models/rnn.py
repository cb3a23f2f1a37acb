"""Recurrent layers: GRU, LSTM and stacks of them.

Time comes first: sequences are (T, B, features). B clips, H units, R layers of a stack.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import Recurrent
from samplernn_theano.models.layers import constant, linear, weight
from samplernn_theano.models.parameters import Parameters, default, orthogonal


def gru(
    params: Parameters, hp: Recurrent, name: str, x: Expression, h0: Expression
) -> tuple[Expression, Expression]:
    """A GRU layer: x (T, B, n_in) and h0 (B, H) to its outputs (T, B, H), and the last."""
    H = h0.type.shape[-1]
    p = linear(params, hp, f"{name}.Step.Input", x, 3 * H, default)  # (T, B, 3 H)
    Wg = weight(params, hp, f"{name}.Step.Recurrent_Gates", H, 2 * H)
    Wc = weight(params, hp, f"{name}.Step.Recurrent_Candidate", H, H, lambda n_in, n_out: orthogonal(n_out))
    hs, *_ = over_time(gru_cell, p, [h0], [Wg, Wc])
    return hs, hs[-1]


def gru_cell(
    p: Expression, h: Expression, Wg: Expression, Wc: Expression
) -> tuple[Expression, Expression, Expression]:
    """One step of a GRU: p (B, 3 H), the linear layer `Step.Input` of x_t, and h (B, H); returns h'.

        [z, r] = sigmoid(h W_g + p_g), c = tanh((r · h) W_c + p_c), h' = z · c + (1 - z) · h

    The reset gate acts before the product, as in Cho et al. 2014; in the GRUs of cuDNN, PyTorch and Keras
    (by default) it acts after it, and their weights do not fit this cell.

    Also returns [z, r] (B, 2 H) and c, which its gradient takes.
    """
    H = h.type.shape[-1]
    zr = pt.sigmoid(pt.dot(h, Wg) + p[:, : 2 * H])
    z, r = zr[:, :H], zr[:, H:]
    c = pt.tanh(pt.dot(r * h, Wc) + p[:, 2 * H :])
    return z * c + (constant(1, z) - z) * h, zr, c


def lstm(
    params: Parameters, hp: Recurrent, name: str, x: Expression, state: Expression
) -> tuple[Expression, Expression]:
    """An LSTM layer: x (T, B, n_in) and state (B, 2 H) = [s, c] to outputs s (T, B, H), and the last state.

    The initial bias of the forget gate is 3.
    """
    H = state.type.shape[-1] // 2
    p = linear(params, hp, f"{name}.Step.Input", x, 4 * H, default, bias=False)  # (T, B, 4 H)
    Wr = weight(params, hp, f"{name}.Step.Recurrent_Gates", H, 4 * H)
    p = p + params.new(f"{name}.Step.b", (4 * H,), lambda rng: np.repeat([0.0, 3.0, 0.0, 0.0], H))
    ss, cs, _ = over_time(lstm_cell, p, [state[:, :H], state[:, H:]], [Wr])
    return ss, pt.concatenate([ss[-1], cs[-1]], axis=1)


def lstm_cell(
    p: Expression, s: Expression, c: Expression, Wr: Expression
) -> tuple[Expression, Expression, Expression]:
    """One step of an LSTM: p (B, 4 H), `Step.Input` of x_t plus bias, s and c (B, H); returns s' and c'.

        [i, f, o, g] = [sigmoid, sigmoid, sigmoid, tanh](s W_r + p), c' = c · f + g · i, s' = tanh(c') · o

    Also returns the gates (B, 4 H), which its gradient takes.
    """
    H = s.type.shape[-1]
    pre = pt.dot(s, Wr) + p
    gates = pt.concatenate([pt.sigmoid(pre[:, : 3 * H]), pt.tanh(pre[:, 3 * H :])], axis=1)
    i, f, o, g = (gates[:, k * H : (k + 1) * H] for k in range(4))
    c = c * f + g * i
    return pt.tanh(c) * o, c, gates


def over_time(
    cell: Callable[..., tuple[Expression, ...]],
    p: Expression,
    states: Sequence[Expression],
    weights: Sequence[Expression],
) -> list[Expression]:
    """A cell at every step of p (T, B, n): its outputs (T, B, width) each, the new states first.

    One step, as in generation, is no loop. More are an operation named like the cell, by which
    `samplernn_theano.models.backpropagation` knows it.
    """
    T = p.type.shape[0]
    if T == 1:
        return [output[None] for output in cell(p[0], *states, *weights)]
    inputs = [v.type() for v in (p, *states, *weights)]
    ps, carried, fixed = inputs[0], inputs[1 : 1 + len(states)], inputs[1 + len(states) :]
    after_one_step = cell(ps[0], *carried, *fixed)  # for its shapes
    outputs = pytensor.scan(
        cell,
        sequences=[ps],
        outputs_info=[*carried, *[None] * (len(after_one_step) - len(carried))],
        non_sequences=fixed,
        strict=True,
        return_updates=False,
    )
    # PyTensor loses the static shape in a scan.
    outputs = [
        pt.specify_shape(over_all, (T, *of_one.type.shape))
        for over_all, of_one in zip(outputs, after_one_step, strict=True)
    ]
    return OpFromGraph(inputs, outputs, inline=True, name=cell.__name__)(p, *states, *weights)


def stacked_rnn(
    params: Parameters, hp: Recurrent, name: str, x: Expression, state: Expression
) -> tuple[Expression, Expression]:
    """A stack of R recurrent layers.

    Parameters
    ----------
    name : str
        Such as ``FrameLevel.GRU``; layer k is `name` + k.
    x : (T, B, n_in)
    state : (B, R, H) for a GRU, (B, R, 2 H) for an LSTM

    Returns
    -------
    outputs : (T, B, H)
        Of the last layer. With skip connections: the sum over layers of a linear map of each output, and
        every layer but the first also reads the stack's input (Graves 2013, section 2).
    new_state
        States of all layers after the last step, shaped as `state`.

    Notes
    -----
    Quirk: the skips of a GRU stack are called ``GRU.outskip1y``, those of an LSTM stack ``LSTM1.outskip1y``.
    """
    layer = gru if hp.rnn_type == "GRU" else lstm
    output, new_states, skips = x, [], []
    for k in range(1, hp.n_rnn + 1):
        skips_in = hp.skip_conn and k > 1
        layer_name = f"{name}{k}+inpskip" if skips_in else f"{name}{k}"
        inputs = pt.concatenate([output, x], axis=2) if skips_in else output
        output, last = layer(params, hp, layer_name, inputs, state[:, k - 1])
        new_states.append(last)
        if hp.skip_conn:
            skip_name = f"{name}.outskip{k}y" if hp.rnn_type == "GRU" else f"{name}{k}.outskip{k}y"
            skips.append(linear(params, hp, skip_name, output, hp.dim, bias=k == 1))
    output = sum(skips[1:], start=skips[0]) if hp.skip_conn else output
    return output, pt.stack(new_states, axis=1)
