"""The three-tier SampleRNN (paper, section 2; figure 1), from the slowest tier to the fastest.

    BigFrameLevel   one step per BFS samples: reads a big frame, conditions the frames that follow
    FrameLevel      one step per FS samples: reads a frame, conditions the samples that follow
    SampleLevel     a multilayer perceptron: reads the FS previous samples, predicts the next

Shapes: B clips, T samples per pass, NB = T / BFS big frames, N = T / FS frames, D the width, Q levels, R
layers per stack. Time comes first inside the model: (N, B, ...).
"""

import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano import ops
from samplernn_theano.hyperparameters import ThreeTier
from samplernn_theano.models.graph import Graph, Sampler
from samplernn_theano.parameters import Parameters, he, zeros


def big_frame_tier(
    params: Parameters,
    hp: ThreeTier,
    frames: Expression,
    state: Expression,
    reset: Expression | None,
    form: ops.Form,
) -> tuple[Expression, Expression, Expression]:
    """The slowest tier.

    Parameters
    ----------
    frames : (NB, B, BFS) int32
    state : (B, R, state width)
    reset : () int32 or None
        Where 1, the learned initial state takes the place of `state`; None keeps `state`.

    Returns
    -------
    vectors : (N, B, D)
        What conditions each frame of the big frame that follows.
    ip_logits : (NB, B, BFS, Q)
        The independent predictions of every sample of the big frame that follows.
    new_state : (B, R, state width)
    """
    ratio = hp.big_frame_size // hp.frame_size
    x = ops.rescale(frames, hp.q_levels, params.dtype)
    state = initial_state(params, "BigFrameLevel.h0", hp, state, reset)
    outputs, new_state = ops.stacked_rnn(
        params, f"BigFrameLevel.{hp.rnn_type}", x, state, hp.rnn_type, hp.skip_conn, hp.weight_norm, form
    )
    output = _linear(params, hp, "BigFrameLevel.Output", hp.dim, hp.dim * ratio)
    independent = _linear(
        params, hp, "BigFrameLevel.IndependentPreds", hp.dim, hp.q_levels * hp.big_frame_size
    )
    return (
        _split_frames(ops.affine(output, outputs), ratio),
        _split_last(ops.affine(independent, outputs), hp.big_frame_size),
        new_state,
    )


def frame_tier(
    params: Parameters,
    hp: ThreeTier,
    frames: Expression,
    conditioning: Expression,
    state: Expression,
    reset: Expression | None,
    form: ops.Form,
) -> tuple[Expression, Expression]:
    """The middle tier: frames (N, B, FS) int32 and the vectors from above (N, B, D).

    Returns a vector for every sample, (N, B, FS, D), and the new state.
    """
    x = ops.rescale(frames, hp.q_levels, params.dtype)
    x = ops.affine(_linear(params, hp, "FrameLevel.InputExpand", hp.frame_size, hp.dim), x) + conditioning
    state = initial_state(params, "FrameLevel.h0", hp, state, reset)
    outputs, new_state = ops.stacked_rnn(
        params, f"FrameLevel.{hp.rnn_type}", x, state, hp.rnn_type, hp.skip_conn, hp.weight_norm, form
    )
    output = _linear(params, hp, "FrameLevel.Output", hp.dim, hp.frame_size * hp.dim)
    return _split_last(ops.affine(output, outputs), hp.frame_size), new_state


def sample_tier(
    params: Parameters, hp: ThreeTier, previous: Expression, conditioning: Expression, form: ops.Form
) -> Expression:
    """The fastest tier: the FS samples before each target (..., FS) int32, its vector from above (..., D).

    Returns the logits of the target, (..., Q).
    """
    table = ops.embedding(params, "SampleLevel.Embedding", hp.q_levels, hp.emb_size)
    L1 = ops.linear(
        params,
        "SampleLevel.L1_PrevSamples",
        hp.frame_size * hp.emb_size,
        hp.dim,
        he(hp.frame_size * hp.emb_size, hp.dim),
        bias=False,
        weight_norm=hp.weight_norm,
    )
    L2 = _linear(params, hp, "SampleLevel.L2", hp.dim, hp.dim)
    L3 = _linear(params, hp, "SampleLevel.L3", hp.dim, hp.dim)
    # Quirk: the initialisation is left to the default, so it is orthogonal where dim equals q_levels.
    output = ops.linear(params, "SampleLevel.Output", hp.dim, hp.q_levels, weight_norm=hp.weight_norm)

    embed = _embed_reference if form == "reference" else _embed_by_tables
    x = embed(table, ops.weight(L1), previous) + conditioning  # no nonlinearity here
    x = ops.relu(ops.affine(L2, x))
    x = ops.relu(ops.affine(L3, x))
    return ops.affine(output, x)


def graph(params: Parameters, hp: ThreeTier, form: ops.Form = "fast") -> Graph:
    """The model over one truncated-BPTT pass: cost, logits and new states.

    Building it for the first time with a seeded `params` draws the initial parameters in the original's
    order.
    """
    BFS, FS, T, B = hp.big_frame_size, hp.frame_size, hp.seq_len, hp.batch_size
    sequences = pt.tensor("sequences", dtype="int32", shape=(B, BFS + T))
    mask = pt.tensor("mask", dtype=params.dtype, shape=(B, BFS + T))
    reset = pt.tensor("reset", dtype="int32", shape=())
    states = state_inputs(params, hp, B)

    vectors, ip_logits, new_big_h0 = big_frame_tier(
        params, hp, _frames(sequences[:, :-BFS], BFS), states["big_h0"], reset, form
    )
    vectors, new_h0 = frame_tier(
        params, hp, _frames(sequences[:, BFS - FS : -FS], FS), vectors, states["h0"], reset, form
    )
    # The FS samples before each target: (N, B, FS) targets, FS samples each.
    first = BFS - FS
    previous = pt.stack([_frames(sequences[:, first + k : first + k + T], FS) for k in range(FS)], axis=3)
    logits = sample_tier(params, hp, previous, vectors, form)

    targets, counts = sequences[:, BFS:], mask[:, BFS:]
    cost = ops.masked_mean(ops.nll_bits(logits, _frames(targets, FS)), _frames(counts, FS))
    ip_cost = ops.masked_mean(ops.nll_bits(ip_logits, _frames(targets, BFS)), _frames(counts, BFS))
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states=states,
        new_states={"big_h0": new_big_h0, "h0": new_h0},
        cost=cost,
        logits=_batch_first(logits),
        ip_cost=ip_cost,
        ip_logits=_batch_first(ip_logits),
    )


def sampler(params: Parameters, hp: ThreeTier, n_seqs: int, n_big_frames: int) -> Sampler:
    """The model as a generator of `n_big_frames` big frames for `n_seqs` sequences: one scan over big frames.

    The body is one step of the big-frame tier, then for each frame one step of the frame tier, then for each
    sample the sample tier and a draw from its softmax.
    """
    BFS, FS = hp.big_frame_size, hp.frame_size
    uniforms = pt.tensor("uniforms", dtype=params.dtype, shape=(n_big_frames * BFS, n_seqs))
    previous = pt.tensor("previous", dtype="int32", shape=(n_seqs, BFS))
    reset = pt.tensor("reset", dtype="int32", shape=())
    states = state_inputs(params, hp, n_seqs)

    def big_frame(
        u, samples, big_h0, h0
    ):  # u (BFS, n_seqs), samples (n_seqs, BFS): the big frame before this one
        vectors, _, big_h0 = big_frame_tier(params, hp, samples[None], big_h0, None, "step")
        recent = [samples[:, BFS - FS + k] for k in range(FS)]
        drawn = []
        for f in range(BFS // FS):
            frame = pt.stack(recent, axis=1)
            per_sample, h0 = frame_tier(params, hp, frame[None], vectors[f][None], h0, None, "step")
            for i in range(FS):
                logits = sample_tier(params, hp, pt.stack(recent, axis=1), per_sample[0, :, i], "step")
                drawn.append(ops.categorical(logits, u[f * FS + i]))
                recent = [*recent[1:], drawn[-1]]
        return pt.stack(drawn, axis=1), big_h0, h0

    samples, big_h0s, h0s = pytensor.scan(
        big_frame,
        sequences=[uniforms.reshape((n_big_frames, BFS, n_seqs))],
        outputs_info=[
            previous,
            initial_state(params, "BigFrameLevel.h0", hp, states["big_h0"], reset),
            initial_state(params, "FrameLevel.h0", hp, states["h0"], reset),
        ],
        return_updates=False,
    )
    return Sampler(
        parameters=params,
        uniforms=uniforms,
        previous=previous,
        reset=reset,
        states=states,
        new_states={"big_h0": big_h0s[-1], "h0": h0s[-1]},
        samples=samples.transpose(1, 0, 2).reshape((n_seqs, n_big_frames * BFS)),
    )


def state_inputs(params: Parameters, hp: ThreeTier, n_seqs: int) -> dict[str, Expression]:
    """The carried states of both recurrent tiers as inputs, (n_seqs, R, state width) each."""
    shape = (n_seqs, hp.n_rnn, hp.state_width)
    return {name: pt.tensor(name, dtype=params.dtype, shape=shape) for name in ("big_h0", "h0")}


def initial_state(
    params: Parameters, name: str, hp: ThreeTier, state: Expression, reset: Expression | None
) -> Expression:
    """`state`, or where `reset` is 1 the learned state `name` (R, state width), the same for every clip.

    With `learn_h0` false the parameter exists, and stays at zero.
    """
    shape = (hp.n_rnn, hp.state_width)
    learned = params.new(name, shape, zeros(*shape), trainable=hp.learn_h0)
    if reset is None:
        return state
    return pt.switch(pt.neq(reset, 0), pt.broadcast_to(learned[None], state.type.shape), state)


def _linear(params: Parameters, hp: ThreeTier, name: str, n_in: int, n_out: int) -> ops.Linear:
    return ops.linear(params, name, n_in, n_out, he(n_in, n_out), weight_norm=hp.weight_norm)


def _embed_reference(table: Expression, W: Expression, previous: Expression) -> Expression:
    """Look the samples up in the table, put their FS vectors side by side, multiply by W: (..., D)."""
    leading = previous.type.shape[:-1]
    return ops.matmul(table[previous].reshape((*leading, W.type.shape[0])), W)


def _embed_by_tables(table: Expression, W: Expression, previous: Expression) -> Expression:
    """The same sum, products first: a table (Q, D) for each of the FS positions, then look-ups."""
    width = table.type.shape[1]
    parts = [
        (table @ W[k * width : (k + 1) * width])[previous[..., k]] for k in range(previous.type.shape[-1])
    ]
    return sum(parts[1:], start=parts[0])


def _frames(x: Expression, size: int) -> Expression:
    """(B, n · size) cut into frames: (n, B, size)."""
    B, length = x.type.shape
    return x.reshape((B, length // size, size)).transpose(1, 0, 2)


def _split_last(x: Expression, n: int) -> Expression:
    """(N, B, n · width) as (N, B, n, width)."""
    N, B, width = x.type.shape
    return x.reshape((N, B, n, width // n))


def _split_frames(x: Expression, ratio: int) -> Expression:
    """(NB, B, ratio · D), vectors for the frames of a big frame, as one sequence (NB · ratio, B, D)."""
    NB, B, width = x.type.shape
    return (
        x.reshape((NB, B, ratio, width // ratio))
        .transpose(0, 2, 1, 3)
        .reshape((NB * ratio, B, width // ratio))
    )


def _batch_first(logits: Expression) -> Expression:
    """(N, B, size, Q) as (B, T, Q)."""
    N, B, size, Q = logits.type.shape
    return logits.transpose(1, 0, 2, 3).reshape((B, N * size, Q))
