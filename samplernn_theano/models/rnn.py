"""Recurrent layers.

Time comes first: sequences are (T, B, features), so a scan runs over the first axis.

Three forms of a layer compute the same function (`samplernn_theano.models.graph.Form`):

* ``reference``: the original's: everything inside the scan, differentiated by PyTensor;
* ``fast``: weight normalisation and input projection outside the scan, and a gradient written by hand
  with only the recurrent products in the backward scan; the default;
* ``step``: one time step without a scan, for generation (T = 1).

The input of a stack may be a sum of deferred linear maps: see `samplernn_theano.models.lazy_linear`.
"""

from collections.abc import Sequence

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import DisconnectedType
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.models import lazy_linear
from samplernn_theano.models.graph import Form
from samplernn_theano.models.layers import Linear, affine, constant, linear, weight
from samplernn_theano.models.lazy_linear import LazyLinear, matmul
from samplernn_theano.models.parameters import Parameters, he, orthogonal

type Input = Expression | tuple[LazyLinear, ...]
"""A sequence (T, B, features), or a sum of deferred maps to it, from (T / n, B, ...) if they have an n."""


def gru(
    params: Parameters, name: str, inputs: Sequence[Input], h0: Expression, weight_norm: bool, form: Form
) -> tuple[Expression, Expression]:
    """A GRU layer over time on the concatenated `inputs`, x (T, B, n_in), and h0 (B, H).

    Returns outputs (T, B, H) and the last state (B, H).

    [z, r] = sigmoid(h W_g + x_g), c = tanh((r · h) W_c + x_c), h' = z · c + (1 - z) · h,
    where [x_g, x_c] is the layer's linear `Step.Input` of x.
    """
    H = h0.type.shape[-1]
    input_ = linear(params, f"{name}.Step.Input", _width(inputs), 3 * H, weight_norm=weight_norm)
    gates = linear(params, f"{name}.Step.Recurrent_Gates", H, 2 * H, bias=False, weight_norm=weight_norm)
    candidate = linear(
        params,
        f"{name}.Step.Recurrent_Candidate",
        H,
        H,
        orthogonal(H),
        bias=False,
        weight_norm=weight_norm,
    )
    if form == "reference":
        x = _concatenated(inputs)
        hs = pytensor.scan(
            lambda x_t, h: _gru_cell(affine(input_, x_t), h, weight(gates), weight(candidate))[0],
            sequences=[x],
            outputs_info=[h0],
            return_updates=False,
        )
        return _over_time(hs, x, H), hs[-1]
    p = _projected(input_, inputs, form)
    if form == "fast":
        hs = _over_time(_gru_fast(p, h0, weight(gates), weight(candidate)), p, H)
    else:
        hs = _gru_cell(p[0], h0, weight(gates), weight(candidate))[0][None]
    return hs, hs[-1]


def lstm(
    params: Parameters, name: str, inputs: Sequence[Input], state: Expression, weight_norm: bool, form: Form
) -> tuple[Expression, Expression]:
    """An LSTM layer over time on the concatenated `inputs`, x (T, B, n_in), and state (B, 2 H) = [s, c].

    Returns outputs s (T, B, H) and the last state.

    [i, f, o, g] = [sigmoid, sigmoid, sigmoid, tanh](s W_r + x_p + b), c' = c · f + g · i, s' = tanh(c') · o.
    The initial forget bias is 3.
    """
    H = state.type.shape[-1] // 2
    input_ = linear(params, f"{name}.Step.Input", _width(inputs), 4 * H, bias=False, weight_norm=weight_norm)
    recurrent = linear(params, f"{name}.Step.Recurrent_Gates", H, 4 * H, bias=False, weight_norm=weight_norm)
    b = params.new(f"{name}.Step.b", (4 * H,), lambda rng: np.repeat([0.0, 3.0, 0.0, 0.0], H))
    s0, c0 = state[:, :H], state[:, H:]
    if form == "reference":
        x = _concatenated(inputs)
        ss, cs = pytensor.scan(
            lambda x_t, s, c: _lstm_cell(affine(input_, x_t) + b, s, c, weight(recurrent))[:2],
            sequences=[x],
            outputs_info=[s0, c0],
            return_updates=False,
        )
        return _over_time(ss, x, H), pt.concatenate([ss[-1], cs[-1]], axis=1)
    p = _projected(input_, inputs, form) + b
    if form == "fast":
        ss, cs = _lstm_fast(p, s0, c0, weight(recurrent))
    else:
        s, c, _ = _lstm_cell(p[0], s0, c0, weight(recurrent))
        ss, cs = s[None], c[None]
    ss = _over_time(ss, p, H)
    return ss, pt.concatenate([ss[-1], cs[-1]], axis=1)


def stacked_rnn(
    params: Parameters,
    name: str,
    x: Input,
    state: Expression,
    rnn_type: str,
    skip_conn: bool,
    weight_norm: bool,
    form: Form,
) -> tuple[Expression, Expression]:
    """A stack of R recurrent layers.

    Parameters
    ----------
    name : str
        Such as ``FrameLevel.GRU``; layer k is `name` + k.
    x : (T, B, n_in) or a sum of deferred maps
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
    layer = gru if rnn_type == "GRU" else lstm
    output: Input = x
    new_states = []
    total: Expression | None = None
    for k in range(1, state.type.shape[1] + 1):
        skips_in = skip_conn and k > 1
        layer_name = f"{name}{k}+inpskip" if skips_in else f"{name}{k}"
        inputs = [output, x] if skips_in else [output]
        output, last = layer(params, layer_name, inputs, state[:, k - 1], weight_norm, form)
        new_states.append(last)
        if skip_conn:
            H = output.type.shape[-1]
            skip_name = f"{name}.outskip{k}y" if rnn_type == "GRU" else f"{name}{k}.outskip{k}y"
            skip = affine(
                linear(params, skip_name, H, H, he(H, H), bias=k == 1, weight_norm=weight_norm), output
            )
            total = skip if total is None else total + skip
    return output if total is None else total, pt.stack(new_states, axis=1)


def _gru_cell(
    p: Expression, h: Expression, Wg: Expression, Wc: Expression
) -> tuple[Expression, Expression, Expression]:
    """One step: projected input p (B, 3 H), h (B, H); returns h', gates [z, r] (B, 2 H), candidate."""
    H = h.type.shape[-1]
    zr = pt.sigmoid(h @ Wg + p[:, : 2 * H])
    z, r = zr[:, :H], zr[:, H:]
    c = pt.tanh((r * h) @ Wc + p[:, 2 * H :])
    return z * c + (constant(1, z) - z) * h, zr, c


def _lstm_cell(
    p: Expression, s: Expression, c: Expression, Wr: Expression
) -> tuple[Expression, Expression, Expression]:
    """One step: projected input with bias p (B, 4 H), s and c (B, H); returns s', c', the gates (B, 4 H)."""
    H = s.type.shape[-1]
    pre = s @ Wr + p
    gates = pt.concatenate([pt.sigmoid(pre[:, : 3 * H]), pt.tanh(pre[:, 3 * H :])], axis=1)
    i, f, o, g = (gates[:, k * H : (k + 1) * H] for k in range(4))
    c = c * f + g * i
    return pt.tanh(c) * o, c, gates


def _gru_fast(p: Expression, h0: Expression, Wg: Expression, Wc: Expression) -> Expression:
    """All states (T, B, H) of a GRU over projected inputs p (T, B, 3 H), with a gradient written by hand.

    Backpropagation through time needs two matrix products per step, dc Wcᵀ and [dz, dr] Wgᵀ. The gradients by
    the weights are one large product each, computed after the backward scan.
    """

    def backward_step(t, dh, dhs_out, zrs, cs, h_prevs, WgT, WcT):
        dh_out, zr, c, h_prev = dhs_out[t], zrs[t], cs[t], h_prevs[t]
        H = h_prev.type.shape[-1]
        z, r = zr[:, :H], zr[:, H:]
        one = constant(1, z)
        D = dh + dh_out
        dc = D * z * (one - c * c)
        drh = dc @ WcT
        dz = D * (c - h_prev) * z * (one - z)
        dr = drh * h_prev * r * (one - r)
        dzr = pt.concatenate([dz, dr], axis=1)
        return D * (one - z) + drh * r + dzr @ WgT, dzr, dc

    def pullback(inputs, outputs, gradients):
        _, h0, Wg, Wc = inputs
        hs, zrs, cs = outputs
        H = h0.type.shape[-1]
        h_prev = pt.concatenate([h0[None], hs[:-1]])
        dhs, dzrs, dcs = pytensor.scan(
            backward_step,
            sequences=[_backwards(hs)],
            outputs_info=[pt.zeros_like(h0), None, None],
            non_sequences=[gradients[0], zrs, cs, h_prev, Wg.T, Wc.T],
            strict=True,
            return_updates=False,
        )
        # dzrs and dcs have the last step first; a product over time is the same in any order.
        dWg = _rows(h_prev[::-1], H).T @ _rows(dzrs, 2 * H)
        dWc = _rows((h_prev * zrs[:, :, H:])[::-1], H).T @ _rows(dcs, H)
        return [pt.concatenate([dzrs, dcs], axis=2)[::-1], dhs[-1], dWg, dWc]

    inputs = [v.type() for v in (p, h0, Wg, Wc)]
    outputs = pytensor.scan(
        _gru_cell,
        sequences=[inputs[0]],
        outputs_info=[inputs[1], None, None],
        non_sequences=inputs[2:],
        strict=True,
        return_updates=False,
    )
    return OpFromGraph(inputs, outputs, pullback=pullback, inline=True)(p, h0, Wg, Wc)[0]


def _lstm_fast(
    p: Expression, s0: Expression, c0: Expression, Wr: Expression
) -> tuple[Expression, Expression]:
    """All states s and c (T, B, H) of an LSTM over projected inputs p (T, B, 4 H); as `_gru_fast`."""

    def backward_step(t, ds, dc, dss_out, dcs_out, all_gates, cs, c_prevs, WrT):
        ds_out, dc_out, gates, c, c_prev = (x[t] for x in (dss_out, dcs_out, all_gates, cs, c_prevs))
        H = c.type.shape[-1]
        i, f, o, g = (gates[:, k * H : (k + 1) * H] for k in range(4))
        one = constant(1, c)
        tanh_c = pt.tanh(c)
        ds = ds + ds_out
        dc = dc + dc_out + ds * o * (one - tanh_c * tanh_c)
        dpre = pt.concatenate(
            [
                dc * g * i * (one - i),
                dc * c_prev * f * (one - f),
                ds * tanh_c * o * (one - o),
                dc * i * (one - g * g),
            ],
            axis=1,
        )
        return dpre @ WrT, dc * f, dpre

    def pullback(inputs, outputs, gradients):
        _, s0, c0, Wr = inputs
        ss, cs, gates = outputs
        H = s0.type.shape[-1]
        ds_out, dc_out = (
            pt.zeros_like(out) if isinstance(grad.type, DisconnectedType) else grad
            for out, grad in zip((ss, cs), gradients[:2], strict=True)
        )
        dss, dcs, dpres = pytensor.scan(
            backward_step,
            sequences=[_backwards(ss)],
            outputs_info=[pt.zeros_like(s0), pt.zeros_like(c0), None],
            non_sequences=[ds_out, dc_out, gates, cs, pt.concatenate([c0[None], cs[:-1]]), Wr.T],
            strict=True,
            return_updates=False,
        )
        dWr = _rows(pt.concatenate([s0[None], ss[:-1]])[::-1], H).T @ _rows(dpres, 4 * H)
        return [dpres[::-1], dss[-1], dcs[-1], dWr]

    inputs = [v.type() for v in (p, s0, c0, Wr)]
    outputs = pytensor.scan(
        _lstm_cell,
        sequences=[inputs[0]],
        outputs_info=[inputs[1], inputs[2], None],
        non_sequences=inputs[3:],
        strict=True,
        return_updates=False,
    )
    ss, cs, _ = OpFromGraph(inputs, outputs, pullback=pullback, inline=True)(p, s0, c0, Wr)
    return ss, cs


def _projected(layer: Linear, inputs: Sequence[Input], form: Form) -> Expression:
    """The layer on the concatenated `inputs`, outside the scan: (T, B, n_out)."""
    W, first, products = weight(layer), 0, []
    for x in inputs:
        part = W[first : first + _width([x])]
        first += _width([x])
        if isinstance(x, tuple):
            products += [
                lazy_linear.apply_over_time(lazy_linear.multiply(m, part, form == "step")) for m in x
            ]
        else:
            products.append(matmul(x, part))
    if layer.b is not None:
        products.append(layer.b)
    return sum(products[1:], start=products[0])


def _concatenated(inputs: Sequence[Input]) -> Expression:
    """The inputs concatenated: (T, B, n_in)."""
    xs = [sum(map(lazy_linear.apply_over_time, x)) if isinstance(x, tuple) else x for x in inputs]
    return pt.concatenate(xs, axis=2)


def _width(inputs: Sequence[Input]) -> int:
    return sum(lazy_linear.width(x[0]) if isinstance(x, tuple) else x.type.shape[-1] for x in inputs)


def _over_time(outputs: Expression, x: Expression, width: int) -> Expression:
    """Restore the static shape (T, B, width) that PyTensor loses in a scan over x (T, B, n)."""
    return pt.specify_shape(outputs, (*x.type.shape[:2], width))


def _backwards(x: Expression) -> Expression:
    """Indices of the steps of x (T, ...), the last first; they avoid a reversed copy."""
    return pt.arange(x.shape[0] - 1, -1, -1, dtype="int32")


def _rows(x: Expression, width: int) -> Expression:
    """x (T, B, width) as (T · B, width)."""
    return x.reshape((-1, width))
