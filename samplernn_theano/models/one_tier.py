"""A plain RNN (the paper's "RNN"), and the same on real numbers ("RNN-GMM").

A stack of recurrent layers that takes one step per sample, and a multilayer perceptron that predicts the
next sample from its output.

Shapes: B clips, T samples per chunk, D the width, Q levels, R layers. Time comes first inside: (T, B, ...).
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import RNNGMM, OneTier
from samplernn_theano.models import distributions, layers, rnn
from samplernn_theano.models.graph import Draw, GenerationStep, Graph, States
from samplernn_theano.models.layers import linear, relu
from samplernn_theano.models.parameters import Parameters


def network(
    params: Parameters,
    hp: OneTier | RNNGMM,
    previous: Expression,
    state: Expression,
    reset: Expression | None,
) -> tuple[Expression, Expression]:
    """The network over time: logits, or the parameters of a mixture, (T, B, width), and the new state.

    `previous` (T, B) has the sample before that which each step predicts. If `reset` is 1, the learned
    initial state replaces `state` (B, R, state width); None keeps it.
    """
    if isinstance(hp, OneTier):
        x = layers.embedding(params, "SampleLevel.Embedding", hp.q_levels, hp.emb_size)[previous]
    else:
        x = previous[:, :, None]  # (T, B, 1)
    state = layers.initial_state(params, "SampleLevel.h0", hp, state, reset)
    # h_t = H(h_(t-1), x_t) (eq. 2)
    h, new_state = rnn.stacked_rnn(params, hp, f"SampleLevel.{hp.rnn_type}", x, state)
    # p(x_(t+1) | x_1, ..., x_t) = softmax(MLP(h_t)) (eq. 3); the softmax is part of the cost
    x = h
    for name in ("L1", "L2", "L3"):
        x = relu(linear(params, hp, f"SampleLevel.{name}", x, hp.dim))
    return linear(params, hp, "SampleLevel.Output", x, distributions.width(hp)), new_state


def graph(params: Parameters, hp: OneTier | RNNGMM) -> Graph:
    """The model over one truncated-BPTT chunk: cost, logits and new states."""
    sequences, mask, reset = layers.chunk_inputs(params, hp)
    h0 = layers.state_input(params, hp, "h0", hp.batch_size)
    outputs, new_h0 = network(params, hp, sequences[:, :-1].T, h0, reset)
    targets, target_mask = sequences[:, 1:].T, mask[:, 1:].T
    nll = distributions.nll(hp, outputs, targets, target_mask)  # (T, B)
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states={"h0": h0},
        new_states={"h0": new_h0},
        total=pt.sum(nll),
        count=pt.sum(target_mask),
        nll=nll.T,
        logits=outputs.transpose(1, 0, 2),
    )


def generation_step(params: Parameters, hp: OneTier | RNNGMM, n_seqs: int) -> GenerationStep:
    """The model as a generator, in steps of one sample."""
    h0 = layers.state_input(params, hp, "h0", n_seqs)

    def step(before: Expression, state: States, draw: Draw) -> tuple[Expression, States]:
        """One step, from the sample before it, (n_seqs, 1)."""
        outputs, new_h0 = network(params, hp, before.T, state["h0"], None)
        return draw(outputs[0], 0)[:, None], {"h0": new_h0}

    def start(reset: Expression) -> States:
        return {"h0": layers.initial_state(params, "SampleLevel.h0", hp, h0, reset)}

    return GenerationStep(hp.overlap, step, {"h0": h0}, start)
