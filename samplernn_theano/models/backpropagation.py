"""Backpropagation through time, written by hand.

PyTensor's own gradient of a recurrent layer has every product of the cell, and the gradients by the weights,
in its backward scan. Here only the products with the recurrent weights are in it; the gradients by the
weights are one large product each, after it. The arithmetic is that of the cells in
`samplernn_theano.models.rnn`.
"""

from collections.abc import Sequence

import pytensor
import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.fg import FunctionGraph
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.models.layers import constant
from samplernn_theano.models.rnn import gru_cell, lstm_cell

type Expressions = Sequence[Expression]


def by_hand(graph: FunctionGraph, node: Apply) -> list[Expression] | None:
    """A recurrent layer over time, as `rnn.over_time` makes it, gets its gradient by hand."""
    if not isinstance(node.op, OpFromGraph):
        return None
    pullback = {gru_cell.__name__: gru_gradients, lstm_cell.__name__: lstm_gradients}.get(node.op.name)
    if pullback is None:
        return None
    inner = node.op.fgraph.unfreeze()
    return OpFromGraph(inner.inputs, inner.outputs, pullback=pullback, inline=True)(
        *node.inputs, return_list=True
    )


def gru_gradients(inputs: Expressions, outputs: Expressions, gradients: Expressions) -> list[Expression]:
    """Gradients by p, h0, Wg and Wc, given that by the outputs h.

    Two products per step, dc Wcᵀ and [dz, dr] Wgᵀ; dz, dr and dc are by the arguments of the nonlinearities.
    """

    def step(t, dh, dhs_out, zrs, cs, h_prevs, WgT, WcT):
        dh_out, zr, c, h_prev = dhs_out[t], zrs[t], cs[t], h_prevs[t]
        H = h_prev.type.shape[-1]
        z, r = zr[:, :H], zr[:, H:]
        one = constant(1, z)
        dh = dh + dh_out
        dc = dh * z * (one - c * c)
        drh = dc @ WcT
        dz = dh * (c - h_prev) * z * (one - z)
        dr = drh * h_prev * r * (one - r)
        dzr = pt.concatenate([dz, dr], axis=1)
        return dh * (one - z) + drh * r + dzr @ WgT, dzr, dc

    _, h0, Wg, Wc = inputs
    hs, zrs, cs = outputs
    H = h0.type.shape[-1]
    h_prev = pt.concatenate([h0[None], hs[:-1]])
    dhs, dzrs, dcs = pytensor.scan(
        step,
        sequences=[_reversed_steps(hs)],
        outputs_info=[pt.zeros_like(h0), None, None],
        non_sequences=[gradients[0], zrs, cs, h_prev, Wg.T, Wc.T],
        strict=True,
        return_updates=False,
    )
    # dzrs and dcs have the last step first, and so have what they are multiplied with.
    dWg = _rows(h_prev[::-1], H).T @ _rows(dzrs, 2 * H)
    dWc = _rows((h_prev * zrs[:, :, H:])[::-1], H).T @ _rows(dcs, H)
    return [pt.concatenate([dzrs, dcs], axis=2)[::-1], dhs[-1], dWg, dWc]


def lstm_gradients(inputs: Expressions, outputs: Expressions, gradients: Expressions) -> list[Expression]:
    """Gradients by p, s0, c0 and Wr, given those by s and c.

    One product per step, dpre Wrᵀ; dpre is by the arguments of the nonlinearities.
    """

    def step(t, ds, dc, dss_out, dcs_out, all_gates, cs, c_prevs, WrT):
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

    _, s0, c0, Wr = inputs
    ss, cs, gates = outputs
    H = s0.type.shape[-1]
    ds_out, dc_out = (
        pt.zeros_like(out) if isinstance(grad.type, DisconnectedType) else grad
        for out, grad in zip((ss, cs), gradients[:2], strict=True)
    )
    dss, dcs, dpres = pytensor.scan(
        step,
        sequences=[_reversed_steps(ss)],
        outputs_info=[pt.zeros_like(s0), pt.zeros_like(c0), None],
        non_sequences=[ds_out, dc_out, gates, cs, pt.concatenate([c0[None], cs[:-1]]), Wr.T],
        strict=True,
        return_updates=False,
    )
    dWr = _rows(pt.concatenate([s0[None], ss[:-1]])[::-1], H).T @ _rows(dpres, 4 * H)
    return [dpres[::-1], dss[-1], dcs[-1], dWr]


def _reversed_steps(x: Expression) -> Expression:
    """Indices of the steps of x (T, ...), the last first; they avoid a reversed copy."""
    return pt.arange(x.shape[0] - 1, -1, -1, dtype="int32")


def _rows(x: Expression, width: int) -> Expression:
    """x (T, B, width) as (T · B, width)."""
    return x.reshape((-1, width))
