"""A plain RNN (the paper's "RNN"), and the same on real numbers ("RNN-GMM").

A stack of recurrent layers that takes one step per sample, and a multilayer perceptron that predicts the
next sample from its output. rnn_gmm may read and predict frames of several samples at each step.

Shapes: B clips, T samples per chunk, FS samples per step (one_tier: 1), D the width, Q levels, R layers.
"""

import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import RNNGMM, OneTier
from samplernn_theano.models import distributions, layers, rnn
from samplernn_theano.models.graph import Form, Graph, Sampler
from samplernn_theano.models.lazy_linear import LazyLinear
from samplernn_theano.models.parameters import Parameters


def network(
    params: Parameters,
    hp: OneTier | RNNGMM,
    previous: Expression,
    state: Expression,
    reset: Expression | None,
    form: Form,
) -> tuple[Expression, Expression]:
    """The network over time: logits or mixture parameters of every step.

    Parameters
    ----------
    previous : (T / FS, B, FS)
        Input of each step: the samples before those it predicts.
    state : (B, R, state width)
    reset : () int32 or None
        If 1, the learned initial state replaces `state`; None keeps `state`.

    Returns
    -------
    outputs : (T / FS, B, width)
        Logits, or the parameters of a mixture.
    new_state : (B, R, state width)
    """
    x: rnn.Input = previous
    if isinstance(hp, OneTier):
        table = layers.embedding(params, "SampleLevel.Embedding", hp.q_levels, hp.emb_size)
        x = (LazyLinear(previous[..., 0], table),)
    state = layers.initial_state(params, "SampleLevel.h0", hp, state, reset)
    x, new_state = rnn.stacked_rnn(
        params, f"SampleLevel.{hp.rnn_type}", x, state, hp.rnn_type, hp.skip_conn, hp.weight_norm, form
    )
    for name in ("L1", "L2", "L3"):
        x = layers.relu(layers.affine(layers.he_linear(params, hp, f"SampleLevel.{name}", hp.dim, hp.dim), x))
    width = distributions.width(hp, n_samples=hp.overlap)
    last = layers.he_linear(params, hp, "SampleLevel.Output", hp.dim, width)
    return layers.affine(last, x), new_state


def graph(params: Parameters, hp: OneTier | RNNGMM, form: Form = "fast") -> Graph:
    """The model over one truncated-BPTT chunk: cost, logits and new states."""
    FS = hp.overlap
    sequences, mask, reset = layers.chunk_inputs(params, hp)
    h0 = layers.state_input(params, hp, "h0", hp.batch_size)
    outputs, new_h0 = network(params, hp, layers.frames(sequences[:, :-FS], FS), h0, reset, form)
    targets, counts = layers.frames(sequences[:, FS:], FS), layers.frames(mask[:, FS:], FS)
    if not hp.real_valued:
        targets, counts = targets[..., 0], counts[..., 0]
    nll = distributions.nll(hp, outputs, targets, counts)  # (T / FS, B)
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states={"h0": h0},
        new_states={"h0": new_h0},
        total=pt.sum(nll),
        count=pt.sum(counts),
        nll=nll.T,
        logits=outputs.transpose(1, 0, 2),
    )


def sampler(
    params: Parameters, hp: OneTier | RNNGMM, n_seqs: int, n_samples: int, top_p: float = 1.0
) -> Sampler:
    """The model as a generator: one scan over steps of FS samples."""
    FS = hp.overlap
    n_steps = max(1, n_samples // FS)
    noise, silent, previous, reset, inverse_temperature = layers.block_inputs(
        params, hp, n_seqs, n_steps * FS
    )
    h0 = layers.state_input(params, hp, "h0", n_seqs)

    def step(silent: Expression, *arguments: Expression) -> tuple[Expression, Expression]:
        """One step: silent (FS,), noise (FS, n_seqs) each, previous samples (n_seqs, FS), state."""
        uniforms, *normals, before, state = arguments
        outputs, state = network(params, hp, before[None], state, None, "step")
        drawn_with = {"uniforms": uniforms[0]} | ({"normals": normals[0].T} if normals else {})
        drawn = distributions.draw(hp, outputs[0], drawn_with, inverse_temperature, top_p)
        return layers.fed_back(hp, silent[None], drawn.reshape((n_seqs, FS))), state

    samples, states = pytensor.scan(
        step,
        sequences=[
            silent.reshape((n_steps, FS)),
            *(values.reshape((n_steps, FS, n_seqs)) for values in noise.values()),
        ],
        outputs_info=[previous, layers.initial_state(params, "SampleLevel.h0", hp, h0, reset)],
        return_updates=False,
    )
    return Sampler(
        parameters=params,
        noise=noise,
        silent=silent,
        previous=previous,
        reset=reset,
        inverse_temperature=inverse_temperature,
        states={"h0": h0},
        new_states={"h0": states[-1]},
        samples=samples.transpose(1, 0, 2).reshape((n_seqs, n_steps * FS)),
    )
