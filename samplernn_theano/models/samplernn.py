"""SampleRNN (paper, section 2; figure 1), from the slowest tier to the fastest.

    BigFrameLevel   one step per BFS samples: reads a big frame, conditions the frames that follow
    FrameLevel      one step per FS samples: reads a frame, conditions the samples that follow
    SampleLevel     a multilayer perceptron: reads the FS previous samples, predicts the next one

The paper's formulas hold for any number of tiers, and so does this module: two_tier is the model without
BigFrameLevel, three_tier has both, k_tier may have more above them. samplernn_gmm is two_tier on real
numbers.

Shapes: B clips, T samples per chunk, N frames per chunk, FS samples per frame, D the width, Q levels,
R layers per stack. Time comes first inside the model: (N, B, ...).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.backends import chunked_loss
from samplernn_theano.config.hyperparameters import KTier, SampleRNNGMM, ThreeTier, Tier, TwoTier
from samplernn_theano.models import distributions, layers, lazy_linear, rnn
from samplernn_theano.models.graph import Form, Graph, Sampler
from samplernn_theano.models.lazy_linear import LazyLinear
from samplernn_theano.models.parameters import Parameters, he

Tiers = ThreeTier | TwoTier | KTier | SampleRNNGMM

MAX_ACTIVATIONS = 2**22
"""Of one layer of the sample tier computed at once: 16 MiB; see `samplernn_theano.backends.chunked_loss`."""


def frame_tier(
    params: Parameters,
    hp: Tiers,
    tier: Tier,
    ratio: int,
    frames: Expression,
    above: LazyLinear | None,
    state: Expression,
    reset: Expression | None,
    form: Form,
) -> tuple[LazyLinear, Expression, Expression]:
    """A recurrent tier k (paper, section 2.1).

    inp_t = W_x f_t + c_t^(k+1), without c in the slowest tier; h_t = H(h_{t-1}, inp_t);
    c^(k)_{(t-1) ratio + j} = W_j h_t for j = 1, ..., ratio: learned upsampling.

    Parameters
    ----------
    ratio : int
        Upsampling ratio: steps of the tier below per step of this one.
    frames : (N, B, FS)
        f_t, the frame that each step reads.
    above : LazyLinear or None
        Conditioning vectors (N, B, D) of the tier above; None for the slowest tier.
    state : (B, R, state width)
    reset : () int32 or None
        If 1, the learned initial state replaces `state`; None keeps `state`.

    Returns
    -------
    conditioning : LazyLinear
        To (N, B, ratio, D), a vector for each step of the tier below.
    outputs : (N, B, D)
        h_t, of the last recurrent layer.
    new_state : (B, R, state width)
    """
    x: rnn.Input = _rescaled(params, hp, frames)
    if above is not None:
        expand = layers.he_linear(params, hp, f"{tier.name}.InputExpand", tier.frame_size, hp.dim)
        x = (layers.deferred(expand, x), above)  # no nonlinearity before the recurrent layers' Input
    state = layers.initial_state(params, f"{tier.name}.h0", hp, state, reset)
    outputs, new_state = rnn.stacked_rnn(
        params, f"{tier.name}.{hp.rnn_type}", x, state, hp.rnn_type, hp.skip_conn, hp.weight_norm, form
    )
    upsample = layers.he_linear(params, hp, f"{tier.name}.Output", hp.dim, ratio * hp.dim)
    return layers.deferred(upsample, outputs, ratio), outputs, new_state


def independent_predictions(params: Parameters, hp: Tiers, tier: Tier, outputs: Expression) -> Expression:
    """Logits (N, B, BFS, Q) of every sample of the next big frame, from the slowest tier's outputs only.

    Quirk: three_tier has them, and the original's training loop never trains them.
    """
    n_out = distributions.width(hp) * tier.frame_size
    layer = layers.he_linear(params, hp, f"{tier.name}.IndependentPreds", hp.dim, n_out)
    return layers.split_last(layers.affine(layer, outputs), tier.frame_size)


class SampleTier(NamedTuple):
    """The fastest tier, a multilayer perceptron, and its input."""

    maps: tuple[LazyLinear, ...]  # their sum plus b is the input of the first ReLU; look-ups come last
    b: Expression  # (D,)
    L3: layers.Linear
    last: layers.Linear  # to logits (..., Q), or to the parameters of a mixture


def sample_tier(
    params: Parameters, hp: Tiers, previous: Expression, above: LazyLinear, form: Form
) -> SampleTier:
    """The sample tier (paper, section 2.2) on the FS samples before each target, (..., FS).

    `above` is the conditioning vector of each sample, (..., D). With `multi_softmax` the previous samples are
    not read: all samples of a frame are predicted at once.
    """
    read = isinstance(hp, SampleRNNGMM) or not hp.multi_softmax
    maps = [above, *_read_previous(params, hp, previous, form)] if read else [above]
    L2 = layers.he_linear(params, hp, "SampleLevel.L2", hp.dim, hp.dim)
    L3 = layers.he_linear(params, hp, "SampleLevel.L3", hp.dim, hp.dim)
    # Quirk: the initialisation is the default, which is orthogonal where dim equals q_levels.
    last = layers.linear(
        params, "SampleLevel.Output", hp.dim, distributions.width(hp), weight_norm=hp.weight_norm
    )
    if form == "reference":
        through_L2 = [LazyLinear(lazy_linear.apply_and_sum(maps), layers.weight(L2))]
    else:  # no nonlinearity before L2
        through_L2 = [lazy_linear.multiply(m, layers.weight(L2), in_loop=form == "step") for m in maps]
    return SampleTier(
        tuple(through_L2), L2.b, *(layers.Linear(layers.weight(x), None, x.b) for x in (L3, last))
    )


def predict(tier: SampleTier) -> Expression:
    """Predictions of the targets: logits (..., Q), or the parameters of a mixture."""
    x = layers.relu(lazy_linear.apply_and_sum(tier.maps) + tier.b)
    x = layers.relu(layers.affine(tier.L3, x))
    return layers.affine(tier.last, x)


def total_nll(hp: Tiers, tier: SampleTier, targets: Expression, mask: Expression) -> Expression:
    """The total NLL, (), of all targets (N, B, FS) in bits, computed in parts to save memory."""
    differentiable = [m.source for m in tier.maps if not lazy_linear.is_lookup(m)]
    constants = [*(m.source for m in tier.maps[len(differentiable) :]), targets, mask]
    weights = [w for m in tier.maps for w in (m.W, m.b) if w is not None]
    others = [tier.b, tier.L3.W, tier.L3.b, tier.last.W, tier.last.b]

    def of_part(varying: Sequence[Expression], weights: Sequence[Expression]) -> Expression:
        *sources, targets, mask = varying
        rest = iter(weights)
        own = [
            LazyLinear(source, next(rest), None if m.b is None else next(rest), m.n)
            for source, m in zip(sources, tier.maps, strict=True)
        ]
        b, W3, b3, W, b_last = rest
        now = SampleTier(tuple(own), b, layers.Linear(W3, None, b3), layers.Linear(W, None, b_last))
        return pt.sum(distributions.nll(hp, predict(now), targets, mask))

    activations = math.prod(targets.type.shape) * hp.dim
    n = chunked_loss.n_chunks(targets.type.shape[0], activations, MAX_ACTIVATIONS)
    return chunked_loss.total(of_part, differentiable, constants, [*weights, *others], n)


def graph(params: Parameters, hp: Tiers, form: Form = "fast") -> Graph:
    """The model over one truncated-BPTT chunk: costs, logits and new states."""
    overlap, T, FS = hp.overlap, hp.seq_len, hp.tiers[-1].frame_size
    sequences, mask, reset = layers.chunk_inputs(params, hp)
    states, new_states = _states(params, hp, hp.batch_size), {}
    conditioning: LazyLinear | None = None
    ip_logits: Expression | None = None
    for tier, ratio in _with_ratios(hp):
        first = overlap - tier.frame_size
        frames = layers.frames(sequences[:, first : first + T], tier.frame_size)
        conditioning, outputs, new_states[tier.state] = frame_tier(
            params, hp, tier, ratio, frames, conditioning, states[tier.state], reset, form
        )
        if hp.independent_preds and tier == hp.tiers[0]:
            ip_logits = independent_predictions(params, hp, tier, outputs)
    # The FS samples before each target: (N, B, FS) targets, FS samples each.
    starts = range(overlap - FS, overlap)
    previous = pt.stack([layers.frames(sequences[:, start : start + T], FS) for start in starts], axis=3)
    assert conditioning is not None  # there is a recurrent tier
    samples = sample_tier(params, hp, previous, conditioning, form)
    outputs = predict(samples)

    def targets(size: int) -> list[Expression]:
        """Targets and their mask in frames, (T / size, B, size) each."""
        return [layers.frames(x[:, overlap:], size) for x in (sequences, mask)]

    nll = distributions.nll(hp, outputs, *targets(FS))  # (N, B, FS)
    return Graph(
        parameters=params,
        sequences=sequences,
        mask=mask,
        reset=reset,
        states=states,
        new_states=new_states,
        total=pt.sum(nll) if form == "reference" else total_nll(hp, samples, *targets(FS)),
        count=pt.sum(mask[:, overlap:]),
        nll=nll.transpose(1, 0, 2).reshape((hp.batch_size, T)),
        logits=layers.batch_first(outputs),
        ip_total=None if ip_logits is None else pt.sum(distributions.nll(hp, ip_logits, *targets(overlap))),
        ip_logits=None if ip_logits is None else layers.batch_first(ip_logits),
    )


def sampler(params: Parameters, hp: Tiers, n_seqs: int, n_samples: int, top_p: float = 1.0) -> Sampler:
    """The model as a generator: one scan over frames of the slowest tier.

    The body is one step of the slowest tier, and for each of its conditioning vectors one step of the tier
    below, down to the sample tier and a draw from its prediction.
    """
    overlap = hp.overlap
    n_steps = max(1, n_samples // overlap)
    noise, silent, previous, reset, inverse_temperature = layers.block_inputs(
        params, hp, n_seqs, n_steps * overlap
    )
    states = _states(params, hp, n_seqs)
    tiers = _with_ratios(hp)

    def big_frame(silent: Expression, *arguments: Expression) -> list[Expression]:
        """One frame of the slowest tier: its samples (n_seqs, overlap) and the new states.

        Arguments: silent (overlap,), noise (overlap, n_seqs) each, previous (n_seqs, overlap), states.
        """
        noise_of = dict(zip(noise, arguments, strict=False))
        before, *carried = arguments[len(noise) :]
        recent = [before[:, i] for i in range(overlap)]  # all samples so far, n_seqs of each
        state = dict(zip(states, carried, strict=True))

        def step(k: int, above: LazyLinear | None) -> None:
            """One step of tier k, and of everything below it."""
            tier, ratio = tiers[k]
            frame = pt.stack(recent[-tier.frame_size :], axis=1)
            conditioning, _, state[tier.state] = frame_tier(
                params, hp, tier, ratio, frame[None], above, state[tier.state], None, "step"
            )
            for i in range(ratio):
                if k + 1 < len(tiers):
                    step(k + 1, lazy_linear.vector_at(conditioning, i))
                else:
                    draw(lazy_linear.vector_at(conditioning, i), tier.frame_size)

        def draw(above: LazyLinear, FS: int) -> None:
            """One sample."""
            t = len(recent) - overlap
            tier = sample_tier(params, hp, pt.stack(recent[-FS:], axis=1)[None], above, "step")
            outputs = predict(tier)[0]
            noise_now = {name: values[t] for name, values in noise_of.items()}
            drawn = distributions.draw(hp, outputs, noise_now, inverse_temperature, top_p)
            recent.append(layers.fed_back(hp, silent[t], drawn))

        step(0, None)
        return [pt.stack(recent[overlap:], axis=1), *state.values()]

    start = [
        layers.initial_state(params, f"{tier.name}.h0", hp, states[tier.state], reset) for tier in hp.tiers
    ]
    samples, *new_states = pytensor.scan(
        big_frame,
        sequences=[
            silent.reshape((n_steps, overlap)),
            *(values.reshape((n_steps, overlap, n_seqs)) for values in noise.values()),
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
        inverse_temperature=inverse_temperature,
        states=states,
        new_states={name: values[-1] for name, values in zip(states, new_states, strict=True)},
        samples=samples.transpose(1, 0, 2).reshape((n_seqs, n_steps * overlap)),
    )


# --- helpers ------------------------------------------------------------------------------------------------


def _with_ratios(hp: Tiers) -> list[tuple[Tier, int]]:
    """Every recurrent tier with its upsampling ratio: steps of the tier below per step of its own."""
    below = [tier.frame_size for tier in hp.tiers[1:]] + [1]
    return [(tier, tier.frame_size // size) for tier, size in zip(hp.tiers, below, strict=True)]


def _states(params: Parameters, hp: Tiers, n_seqs: int) -> dict[str, Expression]:
    """Inputs for the carried states, the slowest tier's first."""
    return {tier.state: layers.state_input(params, hp, tier.state, n_seqs) for tier in hp.tiers}


def _rescaled(params: Parameters, hp: Tiers, samples: Expression) -> Expression:
    """Levels rescaled to [-2, 2]; real-valued samples as they are."""
    if isinstance(hp, SampleRNNGMM):
        return samples
    return layers.rescale(samples, hp.q_levels, params.dtype)


def _read_previous(params: Parameters, hp: Tiers, previous: Expression, form: Form) -> list[LazyLinear]:
    """The previous samples (..., FS), embedded, one-hot or rescaled, concatenated and mapped to (..., D)."""
    FS = previous.type.shape[-1]
    if isinstance(hp, SampleRNNGMM) or hp.sample_input == "real":
        return [LazyLinear(_rescaled(params, hp, previous), _L1(params, hp, FS))]
    Q, size = hp.q_levels, hp.emb_size or hp.q_levels
    table = layers.embedding(params, "SampleLevel.Embedding", Q, size) if hp.emb_size else None
    W = _L1(params, hp, FS * size)
    if form == "reference":
        vectors = layers.one_hot(previous, Q, params.dtype) if table is None else table[previous]
        return [LazyLinear(vectors.reshape((*previous.type.shape[:-1], FS * size)), W)]
    # The same sum as look-ups in a table (Q, D) per position: the product of the embedding and its part of W.
    slices = [W[k * size : (k + 1) * size] for k in range(FS)]
    tables = slices if table is None else [table @ part for part in slices]
    return [LazyLinear(previous[..., k], tables[k]) for k in range(FS)]


def _L1(params: Parameters, hp: Tiers, n_in: int) -> Expression:
    """The effective weight (n_in, D) of the layer on the previous samples; it has no bias."""
    name, draw = "SampleLevel.L1_PrevSamples", he(n_in, hp.dim)
    layer = layers.linear(params, name, n_in, hp.dim, draw, bias=False, weight_norm=hp.weight_norm)
    return layers.weight(layer)
