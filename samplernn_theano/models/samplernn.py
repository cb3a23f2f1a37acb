"""SampleRNN (paper, section 2; figure 1), from the slowest tier to the fastest.

    BigFrameLevel   one step per BFS samples: reads a big frame, conditions the frames that follow
    FrameLevel      one step per FS samples: reads a frame, conditions the samples that follow
    SampleLevel     a multilayer perceptron: reads the FS previous samples, predicts the next one

The formulas hold for any number of tiers: two_tier is the model without BigFrameLevel, three_tier has both,
k_tier may have more above them. samplernn_gmm is two_tier on real numbers.

Every linear layer has weight normalisation (`samplernn_theano.models.layers.weight`), unless it is off.

Shapes: B clips, T samples per chunk, D the width, Q levels, R layers per stack; FS (BFS) samples per frame
of a tier, which takes N = T / FS steps per chunk. Time comes first inside the model: (N, B, ...).
"""

import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import KTier, SampleRNNGMM, ThreeTier, Tier, TwoTier
from samplernn_theano.models import distributions, layers, rnn
from samplernn_theano.models.graph import Draw, GenerationStep, Graph, States
from samplernn_theano.models.layers import linear, relu
from samplernn_theano.models.parameters import Parameters, default

Tiers = ThreeTier | TwoTier | KTier | SampleRNNGMM


def frame_tier(
    params: Parameters,
    hp: Tiers,
    tier: Tier,
    frames: Expression,
    conditioning: Expression | None,
    state: Expression,
    reset: Expression | None,
) -> tuple[Expression, Expression, Expression]:
    """A recurrent tier k (paper, section 2.1).

    Parameters
    ----------
    frames : (N, B, FS)
        The frame that each step reads.
    conditioning : (N, B, D) or None
        Vectors of the tier above; None for the slowest tier.
    state : (B, R, state width)
    reset : () int32 or None
        If 1, the learned initial state replaces `state`; None keeps `state`.

    Returns
    -------
    conditioning : (N, B, ratio, D)
        A vector for each step of the tier below.
    h : (N, B, D)
        Outputs of the stack of recurrent layers.
    new_state : (B, R, state width)
    """
    # inp_t = W_x f_t + c_t (eq. 4); in the slowest tier inp_t = f_t
    inp = rescaled(params, hp, frames)
    if conditioning is not None:
        inp = linear(params, hp, f"{tier.name}.InputExpand", inp, hp.dim) + conditioning
    state = layers.initial_state(params, f"{tier.name}.h0", hp, state, reset)
    # h_t = H(h_(t-1), inp_t)
    h, new_state = rnn.stacked_rnn(params, hp, f"{tier.name}.{hp.rnn_type}", inp, state)
    # c_((t-1) r + j) = W_j h_t for j = 1, ..., r, for the tier below (eq. 9)
    upsampled = linear(params, hp, f"{tier.name}.Output", h, tier.ratio * hp.dim)
    return layers.split_last(upsampled, tier.ratio), h, new_state


def independent_predictions(params: Parameters, hp: Tiers, tier: Tier, h: Expression) -> Expression:
    """Logits (N, B, BFS, Q) of every sample of the next big frame, from the slowest tier's outputs only.

    Quirk: three_tier has them, and the original's training loop never trains them.
    """
    n_out = tier.frame_size * distributions.width(hp)
    logits = linear(params, hp, f"{tier.name}.IndependentPreds", h, n_out)
    return layers.split_last(logits, tier.frame_size)


def sample_tier(params: Parameters, hp: Tiers, previous: Expression, conditioning: Expression) -> Expression:
    """The sample tier (paper, section 2.2): logits (..., Q), or the parameters of a mixture.

    Parameters
    ----------
    previous : (..., FS)
        The FS samples before each target. Not read with `multi_softmax`: a sample is predicted from the
        conditioning vector alone.
    conditioning : (..., D)
        A vector for each target.
    """
    inp = conditioning  # inp_i = W_x f_i + c_i, where f_i are the embedded last FS samples (eq. 10, 11)
    if isinstance(hp, SampleRNNGMM) or not hp.multi_softmax:
        f = embedded(params, hp, previous)
        inp = linear(params, hp, "SampleLevel.L1_PrevSamples", f, hp.dim, bias=False) + conditioning
    # p(x_(i+1) | x_1, ..., x_i) = softmax(MLP(inp_i)) (eq. 12); the softmax is part of the cost
    x = relu(linear(params, hp, "SampleLevel.L2", inp, hp.dim))
    x = relu(linear(params, hp, "SampleLevel.L3", x, hp.dim))
    # Unlike the others its initialisation is the default, orthogonal where dim equals q_levels.
    return linear(params, hp, "SampleLevel.Output", x, distributions.width(hp), default)


def embedded(params: Parameters, hp: Tiers, samples: Expression) -> Expression:
    """The samples (..., FS) embedded, one-hot or rescaled, and concatenated: (..., n)."""
    if isinstance(hp, SampleRNNGMM) or hp.sample_input == "real":
        return rescaled(params, hp, samples)
    if hp.emb_size:
        vectors = layers.embedding(params, "SampleLevel.Embedding", hp.q_levels, hp.emb_size)[samples]
    else:
        vectors = layers.one_hot(samples, hp.q_levels, params.dtype)
    *leading, FS, size = vectors.type.shape
    return vectors.reshape((-1, *leading[1:], FS * size))


def rescaled(params: Parameters, hp: Tiers, samples: Expression) -> Expression:
    """Levels rescaled to -2..2; real-valued samples as they are."""
    return samples if isinstance(hp, SampleRNNGMM) else layers.rescale(samples, hp.q_levels, params.dtype)


def graph(params: Parameters, hp: Tiers) -> Graph:
    """The model over one truncated-BPTT chunk: costs, logits and new states."""
    overlap, T, FS = hp.overlap, hp.seq_len, hp.tiers[-1].frame_size
    sequences, mask, reset = layers.chunk_inputs(params, hp)
    states, new_states = input_states(params, hp, hp.batch_size), {}
    conditioning: Expression | None = None
    ip_logits: Expression | None = None
    for tier in hp.tiers:
        first = overlap - tier.frame_size
        frames = layers.frames(sequences[:, first : first + T], tier.frame_size)  # (N, B, tier's FS)
        above = None if conditioning is None else layers.flatten_steps(conditioning)  # (N, B, D)
        conditioning, h, new_states[tier.state] = frame_tier(
            params, hp, tier, frames, above, states[tier.state], reset
        )
        if hp.independent_preds and tier == hp.tiers[0]:
            ip_logits = independent_predictions(params, hp, tier, h)
    assert conditioning is not None  # there is a recurrent tier
    # The FS samples before each target: (N, B, FS targets, FS)
    starts = range(overlap - FS, overlap)
    previous = pt.stack([layers.frames(sequences[:, start : start + T], FS) for start in starts], axis=3)
    outputs = sample_tier(params, hp, previous, conditioning)  # (N, B, FS, Q)

    def nll(outputs: Expression, size: int) -> Expression:
        """NLL of the targets in frames, (T / size, B, size), in bits."""
        targets, target_mask = (layers.frames(x[:, overlap:], size) for x in (sequences, mask))
        return distributions.nll(hp, outputs, targets, target_mask)

    bits = nll(outputs, FS)
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states=states,
        new_states=new_states,
        total=pt.sum(bits),
        count=pt.sum(mask[:, overlap:]),
        nll=bits.transpose(1, 0, 2).reshape((hp.batch_size, T)),
        logits=layers.batch_first(outputs),
        ip_total=None if ip_logits is None else pt.sum(nll(ip_logits, overlap)),
        ip_logits=None if ip_logits is None else layers.batch_first(ip_logits),
    )


def generation_step(params: Parameters, hp: Tiers, n_seqs: int) -> GenerationStep:
    """The model as a generator, in steps of the slowest tier.

    For each of its conditioning vectors follows one step of the tier below, and so on, down to the draws.
    """
    tiers, states = hp.tiers, input_states(params, hp, n_seqs)

    def slowest_frame(before: Expression, state: States, draw: Draw) -> tuple[Expression, States]:
        """One frame of the slowest tier, from that before it, (n_seqs, overlap)."""
        samples = [before[:, i] for i in range(hp.overlap)]  # all so far, (n_seqs,) each

        def step(k: int, above: Expression | None) -> None:
            """One step of tier k and of all below it adds to samples and state; `above` is (1, n_seqs, D)."""
            tier = tiers[k]
            frames = pt.stack(samples[-tier.frame_size :], axis=1)[None]  # (1, n_seqs, FS)
            carried = state[tier.state]
            conditioning, _, state[tier.state] = frame_tier(params, hp, tier, frames, above, carried, None)
            for j in range(tier.ratio):
                if k + 1 < len(tiers):
                    step(k + 1, conditioning[:, :, j])
                else:
                    previous = pt.stack(samples[-tier.frame_size :], axis=1)[None]
                    prediction = sample_tier(params, hp, previous, conditioning[:, :, j])[0]
                    samples.append(draw(prediction, len(samples) - hp.overlap))

        step(0, None)
        return pt.stack(samples[hp.overlap :], axis=1), state

    def start(reset: Expression) -> States:
        names = {tier.state: f"{tier.name}.h0" for tier in tiers}
        return {s: layers.initial_state(params, name, hp, states[s], reset) for s, name in names.items()}

    return GenerationStep(hp.overlap, slowest_frame, states, start)


def input_states(params: Parameters, hp: Tiers, n_seqs: int) -> States:
    """Inputs for the carried states, the slowest tier's first."""
    return {tier.state: layers.state_input(params, hp, tier.state, n_seqs) for tier in hp.tiers}
