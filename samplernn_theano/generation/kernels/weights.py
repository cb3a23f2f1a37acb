"""Parameters of a model, prepared for the loop over samples.

Done here, once: weight normalisation, and the products of consecutive linear maps without a nonlinearity
between them. The slower tier's vector, `InputExpand` and `Step.Input` become one map to the gates; so do
`FrameLevel.Output` and `SampleLevel.L2`; embedding, `L1_PrevSamples` and L2 become a look-up. Products are
formed in float64 and rounded once. Widths are padded with zeros to multiples of 16: a padded unit stays at
zero. Weights of products are packed (`product.pack`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config import hyperparameters
from samplernn_theano.config.hyperparameters import OneTier, SampleRNN
from samplernn_theano.generation.kernels.product import LANES, pack

Arrays = Mapping[str, NDArray]


class Tier(NamedTuple):
    """Tier of R layers. H: padded width; G: gates per layer; M: G H, or R G H with skip connections."""

    frame_size: int  # FS: samples per step
    ratio: int  # steps of the tier below (for the last one: samples) per step
    is_lstm: bool
    bias: NDArray  # (R G H,)
    from_level: NDArray  # (Q, M) where a step reads one embedded sample, else (0, 0)
    from_frame: NDArray  # FS numbers -> M, or none
    from_above: NDArray  # a vector of the tier above -> M, or none
    between: NDArray  # (R - 1, ...): the layer before -> G H
    gates: NDArray  # (R, ...): state -> 2 H (GRU) or 4 H (LSTM)
    candidates: NDArray  # (R, ...): reset state -> H (GRU), or none
    skips: NDArray  # (R, ...): state -> H, or none without skip connections
    skip_bias: NDArray  # (H,)
    upsample: NDArray  # output -> ratio H
    upsample_bias: NDArray  # (ratio H,)


class Weights(NamedTuple):
    """Prepared model. Q: levels."""

    tiers: tuple[Tier, ...]  # the slowest first
    tables: NDArray  # (FS, Q, H): each previous sample's part of the sample tier's first sum; or none
    layers: tuple[NDArray, ...]  # the sample tier after that sum, a ReLU before each; the last to Q
    biases: tuple[NDArray, ...]


def prepare(arrays: Arrays, hp: SampleRNN | OneTier) -> Weights:
    """Normalise, multiply, pad and pack named parameters."""
    names = ["L3", "Output"]
    if isinstance(hp, OneTier):
        tier = hyperparameters.Tier("SampleLevel", "h0", 1, 1)
        tiers = [_tier(arrays, hp, tier, None, *_linear(arrays, "SampleLevel.L1"), 1)]
        tables, names = np.zeros((0, hp.q_levels, hp.dim)), ["L2", *names]
    else:
        tiers, tables = _tiers(arrays, hp), _tables(arrays, hp)
    layers = [_linear(arrays, f"SampleLevel.{name}") for name in names]
    tables = np.pad(tables, ((0, 0), (0, 0), (0, _wide(hp.dim) - hp.dim))).astype(np.float32)
    packed = tuple(pack(_rows(W, hp.dim)) for W, _ in layers)
    return Weights(tuple(tiers), tables, packed, tuple(_padded(b) for _, b in layers))


def _tiers(arrays: Arrays, hp: SampleRNN) -> list[Tier]:
    sizes, tiers = [tier.frame_size for tier in hp.tiers] + [1], []
    for k, tier in enumerate(hp.tiers):
        (W, b), ratio = _linear(arrays, f"{tier.name}.Output"), sizes[k] // sizes[k + 1]
        if tier == hp.tiers[-1]:  # no nonlinearity before L2
            L2, L2_bias = _linear(arrays, "SampleLevel.L2")
            W = (W.reshape(hp.dim * ratio, hp.dim) @ L2).reshape(W.shape)
            b = (b.reshape(ratio, hp.dim) @ L2 + L2_bias).ravel()
        expand = _linear(arrays, f"{tier.name}.InputExpand") if k else None
        tiers.append(_tier(arrays, hp, tier, expand, W, b, ratio))
    return tiers


def _tier(
    arrays: Arrays,
    hp: SampleRNN | OneTier,
    tier: hyperparameters.Tier,
    expand: tuple[NDArray, NDArray] | None,
    upsample: NDArray,
    upsample_bias: NDArray,
    ratio: int,
) -> Tier:
    """Tier with an output mapped by `upsample` (D, ratio D)."""
    D, R, is_lstm = hp.dim, hp.n_rnn, hp.rnn_type == "LSTM"
    stack = f"{tier.name}.{hp.rnn_type}"
    names = [f"{stack}{k}" + ("+inpskip" if hp.skip_conn and k > 1 else "") for k in range(1, R + 1)]
    inputs = [_effective(arrays, f"{name}.Step.Input") for name in names]  # (n_in, G D) each
    # After the first layer, the first D rows read the layer below; the others read the tier's input.
    between = [W[:D] for W in inputs[1:]]
    readers = [inputs[0]] + [W[D:] for W in inputs[1:] if hp.skip_conn]
    read = np.concatenate([_gates(W, D) for W in readers], axis=1)  # (n_in, M)
    suffix = ".Step.b" if is_lstm else ".Step.Input.b"
    bias = np.concatenate([_gates(arrays[name + suffix][None].astype(float), D)[0] for name in names])
    from_level, from_frame, from_above = np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0))
    if isinstance(hp, OneTier):
        from_level = arrays["SampleLevel.Embedding"].astype(float) @ read
    elif expand is None:
        from_frame = read
    else:
        from_frame, from_above = expand[0] @ read, _rows(read, D)
        bias[: read.shape[1]] += expand[1] @ read
    recurrent = [_gates(_effective(arrays, f"{name}.Step.Recurrent_Gates"), D) for name in names]
    candidates = [] if is_lstm else [_effective(arrays, f"{n}.Step.Recurrent_Candidate") for n in names]
    skips, skip_bias = [], np.zeros(D)
    if hp.skip_conn:
        stacks = [f"{stack}{k}" if is_lstm else stack for k in range(1, R + 1)]
        outputs = [f"{own}.outskip{k}y" for k, own in enumerate(stacks, 1)]
        skips, skip_bias = [_effective(arrays, name) for name in outputs], arrays[f"{outputs[0]}.b"]
    return Tier(
        frame_size=tier.frame_size,
        ratio=ratio,
        is_lstm=is_lstm,
        bias=bias.astype(np.float32),
        from_level=np.ascontiguousarray(from_level, np.float32),
        from_frame=pack(from_frame),
        from_above=pack(from_above),
        between=_stack([_rows(_gates(W, D), D) for W in between]),
        gates=_stack([_rows(W, D) for W in recurrent]),
        candidates=_stack([_rows(_gates(W, D), D) for W in candidates]),
        skips=_stack([_rows(_gates(W, D), D) for W in skips]),
        skip_bias=_padded(skip_bias),
        upsample=pack(_rows(_gates(upsample, D), D)),
        upsample_bias=_gates(upsample_bias[None], D)[0].astype(np.float32),
    )


def _tables(arrays: Arrays, hp: SampleRNN) -> NDArray:
    """Contribution of each of the FS previous samples to the sum of L2, by level: (FS, Q, D)."""
    if hp.multi_softmax:
        return np.zeros((0, hp.q_levels, hp.dim))
    W = _effective(arrays, "SampleLevel.L1_PrevSamples").reshape(hp.tiers[-1].frame_size, -1, hp.dim)
    L2, _ = _linear(arrays, "SampleLevel.L2")
    if hp.sample_input == "real":
        return rescaled_levels(hp)[:, None].astype(float) @ W @ L2
    if hp.emb_size:  # else one-hot: the weight is the table
        W = arrays["SampleLevel.Embedding"].astype(float) @ W
    return W @ L2


def rescaled_levels(hp: SampleRNN | OneTier) -> NDArray[np.float32]:
    """Rescaled input of a recurrent tier for each level 0..Q-1 (`layers.rescale`)."""
    levels = np.arange(hp.q_levels, dtype=np.float32)
    return (levels / np.float32(hp.q_levels // 2) - np.float32(1)) * np.float32(2)


def _linear(arrays: Arrays, name: str) -> tuple[NDArray, NDArray]:
    return _effective(arrays, name), arrays[f"{name}.b"].astype(float)


def _effective(arrays: Arrays, name: str) -> NDArray:
    """Effective weight (n_in, n_out): W0 g0 / ||W0|| over the first axis, or W0."""
    W, g = arrays[f"{name}.W0"].astype(float), arrays.get(f"{name}.g0")
    return W if g is None else W * (g / np.linalg.norm(W, axis=0))


def _wide(n: int) -> int:
    return -(-n // LANES) * LANES


def _gates(W: NDArray, D: int) -> NDArray:
    """W (n_in, n D), n blocks of width D, each padded: (n_in, n H)."""
    blocks = W.reshape(len(W), -1, D)
    return np.pad(blocks, ((0, 0), (0, 0), (0, _wide(D) - D))).reshape(len(W), -1)


def _rows(W: NDArray, D: int) -> NDArray:
    """W (D, n_out) padded with rows of zeros to (H, n_out)."""
    return np.pad(W, ((0, _wide(D) - D), (0, 0)))


def _padded(b: NDArray) -> NDArray[np.float32]:
    return np.pad(b, (0, _wide(len(b)) - len(b))).astype(np.float32)


def _stack(matrices: list[NDArray]) -> NDArray[np.float32]:
    """Packed matrices, stacked: (R, panels, n_in, 16); none: (0, 0, 0, 16)."""
    return np.stack([pack(W) for W in matrices]) if matrices else np.zeros((0, 0, 0, LANES), np.float32)


def widen_state(state: NDArray, hp: SampleRNN | OneTier) -> NDArray[np.float32]:
    """Copy of a state (n, R, state width) with each part of width D padded to H."""
    n, R, width = state.shape
    return _gates(state.reshape(n * R, width), hp.dim).reshape(n, R, -1)


def narrow_state(state: NDArray, hp: SampleRNN | OneTier) -> NDArray[np.float32]:
    """Copy of a padded state without its padding; the inverse of `widen_state`."""
    n, R, _ = state.shape
    return state.reshape(n, R, -1, _wide(hp.dim))[..., : hp.dim].reshape(n, R, -1)
