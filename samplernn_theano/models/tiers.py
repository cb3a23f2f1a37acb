"""SampleRNN (paper, section 2; figure 1), from the slowest tier to the fastest.

    BigFrameLevel   one step per BFS samples: reads a big frame, conditions the frames that follow
    FrameLevel      one step per FS samples: reads a frame, conditions the samples that follow
    SampleLevel     a multilayer perceptron: reads the FS previous samples, predicts the next

The paper's formulas hold for any number of tiers, and so does this module: two_tier is the model without
BigFrameLevel, three_tier has both, k_tier may have more above them. samplernn_gmm is two_tier on real numbers.

Shapes: B clips, T samples per pass, N frames per pass, FS samples per frame, D the width, Q levels, R layers
per stack. Time comes first inside the model: (N, B, ...).
"""

from collections.abc import Iterator

import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano import ops
from samplernn_theano.hyperparameters import SampleRNN, SampleRNNGMM, Tier
from samplernn_theano.models import output, parts
from samplernn_theano.models.graph import Graph, Sampler
from samplernn_theano.parameters import Parameters, he

Tiers = SampleRNN | SampleRNNGMM


def frame_tier(
    params: Parameters,
    hp: Tiers,
    tier: Tier,
    ratio: int,
    frames: Expression,
    conditioning: Expression | None,
    state: Expression,
    reset: Expression | None,
    form: ops.Form,
) -> tuple[Expression, Expression, Expression]:
    """A recurrent tier (paper, equations 2 to 9).

    Parameters
    ----------
    ratio : int
        Steps of the tier below for one step of this one.
    frames : (N, B, FS)
        What each step reads.
    conditioning : (N, B, D) or None
        A vector for each step from the tier above; the slowest tier has none.
    state : (B, R, state width)
    reset : () int32 or None
        Where 1, the learned initial state takes the place of `state`; None keeps `state`.

    Returns
    -------
    vectors : (N, B, ratio, D)
        What conditions the steps of the tier below.
    outputs : (N, B, D)
        Of the recurrent layers.
    new_state : (B, R, state width)
    """
    x = _numbers(params, hp, frames)
    if conditioning is not None:
        expand = parts.he_linear(params, hp, f"{tier.name}.InputExpand", tier.frame_size, hp.dim)
        x = ops.affine(expand, x) + conditioning
    state = parts.initial_state(params, f"{tier.name}.h0", hp, state, reset)
    outputs, new_state = ops.stacked_rnn(
        params, f"{tier.name}.{hp.rnn_type}", x, state, hp.rnn_type, hp.skip_conn, hp.weight_norm, form
    )
    upsample = parts.he_linear(params, hp, f"{tier.name}.Output", hp.dim, ratio * hp.dim)
    return parts.split_last(ops.affine(upsample, outputs), ratio), outputs, new_state


def independent_predictions(params: Parameters, hp: Tiers, tier: Tier, outputs: Expression) -> Expression:
    """Logits (N, B, BFS, Q) of every sample of the next big frame from the slowest tier's outputs alone.

    Quirk: three_tier has them, and its training loop never trains them.
    """
    n_out = output.width(hp) * tier.frame_size
    layer = parts.he_linear(params, hp, f"{tier.name}.IndependentPreds", hp.dim, n_out)
    return parts.split_last(ops.affine(layer, outputs), tier.frame_size)


def sample_tier(
    params: Parameters, hp: Tiers, previous: Expression, conditioning: Expression, form: ops.Form
) -> Expression:
    """The fastest tier: the FS samples before each target (..., FS), its vector from above (..., D).

    Returns what predicts the target: logits (..., Q), or the numbers of a mixture. With `multi_softmax` the
    previous samples are not read: all samples of a frame are predicted at once.
    """
    x = conditioning
    if not (isinstance(hp, SampleRNN) and hp.multi_softmax):
        x = _read_previous(params, hp, previous, form) + x  # no nonlinearity here
    L2 = parts.he_linear(params, hp, "SampleLevel.L2", hp.dim, hp.dim)
    L3 = parts.he_linear(params, hp, "SampleLevel.L3", hp.dim, hp.dim)
    # Quirk: the initialisation is left to the default, so it is orthogonal where dim equals q_levels.
    last = ops.linear(params, "SampleLevel.Output", hp.dim, output.width(hp), weight_norm=hp.weight_norm)
    x = ops.relu(ops.affine(L2, x))
    x = ops.relu(ops.affine(L3, x))
    return ops.affine(last, x)


def graph(params: Parameters, hp: Tiers, form: ops.Form = "fast") -> Graph:
    """The model over one truncated-BPTT pass: cost, logits and new states."""
    O, T, FS = hp.overlap, hp.seq_len, hp.tiers[-1].frame_size
    sequences, mask, reset = parts.pass_inputs(params, hp)
    states, new_states = _states(params, hp, hp.batch_size), {}
    vectors = ip_logits = None
    for tier, ratio in _with_ratios(hp):
        first = O - tier.frame_size
        frames = parts.frames(sequences[:, first : first + T], tier.frame_size)
        conditioning = None if vectors is None else parts.in_sequence(vectors)
        vectors, outputs, new_states[tier.state] = frame_tier(
            params, hp, tier, ratio, frames, conditioning, states[tier.state], reset, form
        )
        if hp.independent_preds and tier == hp.tiers[0]:
            ip_logits = independent_predictions(params, hp, tier, outputs)
    # The FS samples before each target: (N, B, FS) targets, FS samples each.
    first = O - FS
    previous = pt.stack([parts.frames(sequences[:, first + k : first + k + T], FS) for k in range(FS)], axis=3)
    outputs = sample_tier(params, hp, previous, vectors, form)

    def cost(outputs: Expression, size: int) -> Expression:
        return output.cost(hp, outputs, parts.frames(sequences[:, O:], size), parts.frames(mask[:, O:], size))

    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states=states,
        new_states=new_states,
        cost=cost(outputs, FS),
        logits=None if hp.real_valued else parts.batch_first(outputs),
        ip_cost=None if ip_logits is None else cost(ip_logits, O),
        ip_logits=None if ip_logits is None else parts.batch_first(ip_logits),
    )


def sampler(params: Parameters, hp: Tiers, n_seqs: int, n_samples: int) -> Sampler:
    """The model as a generator: one scan over frames of the slowest tier.

    The body is one step of the slowest tier, and for each of its vectors one step of the tier below, down to
    the sample tier and a draw from what it predicts.
    """
    O = hp.overlap
    n_steps = max(1, n_samples // O)
    noise, silent, previous, reset = parts.block_inputs(params, hp, n_seqs, n_steps * O)
    states = _states(params, hp, n_seqs)
    tiers = _with_ratios(hp)

    def big_frame(silent: Expression, *arguments: Expression) -> list[Expression]:
        """silent (O,), noise (O, n_seqs) each, the samples before (n_seqs, O), states; the next of the same."""
        noise_of = dict(zip(noise, arguments, strict=False))
        before, *carried = arguments[len(noise) :]
        recent = [before[:, i] for i in range(O)]  # all samples so far, n_seqs of each
        state = dict(zip(states, carried, strict=True))

        def step(k: int, conditioning: Expression | None) -> None:
            """One step of tier k, and of everything below it."""
            tier, ratio = tiers[k]
            frame = pt.stack(recent[-tier.frame_size :], axis=1)
            conditioning = None if conditioning is None else conditioning[None]
            vectors, _, state[tier.state] = frame_tier(
                params, hp, tier, ratio, frame[None], conditioning, state[tier.state], None, "step"
            )
            for i in range(ratio):
                if k + 1 < len(tiers):
                    step(k + 1, vectors[0, :, i])
                else:
                    draw(vectors[0, :, i], tier.frame_size)

        def draw(conditioning: Expression, FS: int) -> None:
            """One sample."""
            t = len(recent) - O
            outputs = sample_tier(params, hp, pt.stack(recent[-FS:], axis=1), conditioning, "step")
            drawn = output.draw(hp, outputs, {name: values[t] for name, values in noise_of.items()})
            recent.append(parts.heard(silent[t], hp.silence, drawn))

        step(0, None)
        return [pt.stack(recent[O:], axis=1), *state.values()]

    start = [
        parts.initial_state(params, f"{tier.name}.h0", hp, states[tier.state], reset) for tier in hp.tiers
    ]
    samples, *new_states = pytensor.scan(
        big_frame,
        sequences=[
            silent.reshape((n_steps, O)),
            *(values.reshape((n_steps, O, n_seqs)) for values in noise.values()),
        ],
        outputs_info=[previous, *start],
        return_updates=False,
    )
    return Sampler(
        parameters=params,
        noise=noise,
        silent=silent,
        previous=previous,
        reset=reset,
        states=states,
        new_states={name: values[-1] for name, values in zip(states, new_states, strict=True)},
        samples=samples.transpose(1, 0, 2).reshape((n_seqs, n_steps * O)),
    )


# --- helpers ------------------------------------------------------------------------------------------------


def _with_ratios(hp: Tiers) -> list[tuple[Tier, int]]:
    """Every recurrent tier with the number of steps that the tier below makes in one of its own."""
    below = [tier.frame_size for tier in hp.tiers[1:]] + [1]
    return [(tier, tier.frame_size // size) for tier, size in zip(hp.tiers, below, strict=True)]


def _states(params: Parameters, hp: Tiers, n_seqs: int) -> dict[str, Expression]:
    """The carried states as inputs, the slowest tier's first."""
    return {tier.state: parts.state_input(params, hp, tier.state, n_seqs) for tier in hp.tiers}


def _numbers(params: Parameters, hp: Tiers, samples: Expression) -> Expression:
    """Samples as numbers: levels rescaled to [-2, 2], real samples as they are."""
    return ops.rescale(samples, hp.q_levels, params.dtype) if isinstance(hp, SampleRNN) else samples


def _read_previous(params: Parameters, hp: Tiers, previous: Expression, form: ops.Form) -> Expression:
    """Embed the FS previous samples (..., FS), put them side by side, and map them to (..., D)."""
    FS = previous.type.shape[-1]
    as_numbers = not isinstance(hp, SampleRNN) or hp.sample_input == "real"
    table = None
    if isinstance(hp, SampleRNN) and not as_numbers and hp.emb_size:
        table = ops.embedding(params, "SampleLevel.Embedding", hp.q_levels, hp.emb_size)
    per_sample = 1 if as_numbers else hp.emb_size or hp.q_levels
    n_in = FS * per_sample
    L1 = ops.linear(
        params,
        "SampleLevel.L1_PrevSamples",
        n_in,
        hp.dim,
        he(n_in, hp.dim),
        bias=False,
        weight_norm=hp.weight_norm,
    )
    W = ops.weight(L1)
    if as_numbers:
        return ops.matmul(_numbers(params, hp, previous), W)
    if form == "reference":
        vectors = ops.one_hot(previous, hp.q_levels, params.dtype) if table is None else table[previous]
        return ops.matmul(vectors.reshape((*previous.type.shape[:-1], n_in)), W)
    # The same sum, products first: a table (Q, D) for each of the FS positions, then look-ups.
    slices = [W[k * per_sample : (k + 1) * per_sample] for k in range(FS)]
    tables = slices if table is None else [table @ part for part in slices]
    looked_up = [tables[k][previous[..., k]] for k in range(FS)]
    return sum(looked_up[1:], start=looked_up[0])
