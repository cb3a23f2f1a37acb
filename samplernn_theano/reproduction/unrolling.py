"""The layout of figure 1 of the paper: the steps of a model that are shown, and the samples that they read.

Time runs to the right. A step is above the samples that it conditions, and as many columns wide as the steps
below it. All positions follow from the hyper-parameters; steps that do not fit are replaced by a gap.
"""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from samplernn_theano.config.hyperparameters import (
    RNNGMM,
    Common,
    HyperParameters,
    OneTier,
    Quantised,
    RealValued,
    Recurrent,
    SampleRNN,
    Tiered,
    WaveNet,
)

GAP = 0.6
"""Columns of a gap."""

MOST_COLUMNS = 17.5
MOST_STEPS = 6  # of the slowest tier
MOST_LAYERS, MOST_INPUTS = 5, 16  # of a dilated tree


# --- tiers --------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A step of a tier. Samples are relative to the first predicted one, x_i."""

    left: float
    """Left edge, in columns."""
    right: float
    """Right edge."""
    begin: int
    """The first sample that it conditions or predicts."""
    reads: range
    """The samples that it reads; empty in a tier that only has input from the tier above."""


class Gap(NamedTuple):
    """The left and right edge, in columns, of steps left out."""

    left: float
    right: float


@dataclass(frozen=True)
class Row:
    """A tier.

    Attributes
    ----------
    title : str
        Its name in the code.
    about : list of str
        Short lines with its sizes.
    boxes : list of str
        Parts of a step, in the order of computation.
    frame_size : int
        Samples that a step conditions or predicts.
    recurrent : bool
        True if a step passes a state to the next.
    steps : list of Step
        The steps shown, in order.
    gaps : list of Gap
        Steps left out.
    """

    title: str
    about: list[str]
    boxes: list[str]
    frame_size: int
    recurrent: bool
    steps: list[Step] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def rows(hp: HyperParameters) -> list[Row]:
    """The tiers of a recurrent model, the slowest first, unrolled over some of their steps."""
    tiers = _tiered(hp) if isinstance(hp, Tiered) else [_single(hp)]
    ratios = [a.frame_size // b.frame_size for a, b in zip(tiers, tiers[1:], strict=False)]
    limits = _limits(ratios)
    frame, width = tiers[0].frame_size, _width(ratios, limits)
    n_steps = max(1, min(int((MOST_COLUMNS - GAP) / width), MOST_STEPS, hp.seq_len // frame))
    right = 0.0
    for k in range(n_steps):
        right = _place(hp, tiers, limits, 0, k * frame, right)
    if hp.seq_len > n_steps * frame:
        _leave_out(tiers, right)
    return tiers


def last_column(tiers: list[Row]) -> float:
    """Right edge of the last step or gap, in columns."""
    return max([step.right for step in tiers[0].steps] + [gap.right for gap in tiers[0].gaps])


def shown(ratio: int, limit: int) -> list[int | None]:
    """The steps shown of the steps 0 ... ratio - 1 below a step; None for a gap.

    All of them up to `limit`; else the first ones and the last, or only the first.
    """
    if ratio <= limit:
        return list(range(ratio))
    return [*range(limit - 2), None, ratio - 1] if limit > 2 else [0, None]


def _limits(ratios: list[int]) -> list[int]:
    """The maximum number of columns below a step of each tier, so that two steps fit."""
    limits = [8] * len(ratios)
    for limit in (6, 4, 3, 2, 1):
        for level in range(len(ratios)):  # the slowest tier first: details are clearest in tiers without gaps
            if 2 * _width(ratios, limits) + GAP <= MOST_COLUMNS:
                return limits
            limits[level] = limit
    return limits


def _width(ratios: list[int], limits: list[int]) -> float:
    """Columns of one step of the slowest tier."""
    width = 1.0
    for ratio, limit in reversed(list(zip(ratios, limits, strict=True))):
        width = sum(GAP if child is None else width for child in shown(ratio, limit))
    return width


def _place(
    hp: HyperParameters, tiers: list[Row], limits: list[int], level: int, begin: int, left: float
) -> float:
    """Place a step of a tier, and all below it, from the column `left` on; return its right edge."""
    row, right = tiers[level], left
    if level + 1 == len(tiers):
        right += 1
    else:
        below = tiers[level + 1].frame_size
        for child in shown(row.frame_size // below, limits[level]):
            if child is None:
                right = _leave_out(tiers[level + 1 :], right)
            else:
                right = _place(hp, tiers, limits, level + 1, begin + child * below, right)
    row.steps.append(Step(left, right, begin, _reads(hp, row, begin)))
    return right


def _leave_out(tiers: list[Row], left: float) -> float:
    """Place a gap in tiers from the column `left` on, or widen one that ends there; return its right edge."""
    right = left + GAP
    for row in tiers:
        begin = row.gaps.pop().left if row.gaps and row.gaps[-1].right == left else left
        row.gaps.append(Gap(begin, right))
    return right


def _reads(hp: HyperParameters, row: Row, begin: int) -> range:
    """The samples a step reads: the frame before, or in the sample tier as many as in the frame above."""
    if row.recurrent:
        return range(begin - row.frame_size, begin)
    if isinstance(hp, SampleRNN) and hp.multi_softmax:
        return range(0)
    assert isinstance(hp, Tiered)
    return range(begin - hp.sizes[-1], begin)


def _tiered(hp: Tiered) -> list[Row]:
    """The rows of a SampleRNN, without their steps."""
    below = [*hp.sizes[1:], 1]
    found = []
    for tier, faster in zip(hp.tiers, below, strict=True):
        size = tier.frame_size
        about = [_samples(size) + " a step", *_stack(hp), f"upsampled to {size // faster}"]
        found.append(Row(tier.name, about, [_box(hp)], size, recurrent=True))
    boxes = ["MLP", *_output_boxes(hp)]
    about = [*_previous(hp), f"MLP: {hp.dim}, {hp.dim}", _distribution(hp, 1)]
    return [*found, Row("SampleLevel", about, boxes, 1, recurrent=False)]


def _single(hp: HyperParameters) -> Row:
    """The row of a plain RNN, without its steps."""
    assert isinstance(hp, OneTier | RNNGMM)
    size = hp.overlap
    about = [_samples(size) + " a step"]
    about += [f"embedded in {hp.emb_size}"] if isinstance(hp, OneTier) else []
    about += [*_stack(hp), f"MLP: {hp.dim}, {hp.dim}, {hp.dim}", _distribution(hp, size)]
    return Row("SampleLevel", about, [_box(hp), "MLP", *_output_boxes(hp)], size, recurrent=True)


def _samples(n: int) -> str:
    return f"{n} sample" if n == 1 else f"{n} samples"


def _stack(hp: Recurrent) -> list[str]:
    return [f"{_box(hp)}, {hp.dim} wide", *(["skip connections"] if hp.skip_conn else [])]


def _box(hp: Recurrent) -> str:
    return hp.rnn_type if hp.n_rnn == 1 else f"{hp.n_rnn}×{hp.rnn_type}"


def _previous(hp: Tiered) -> list[str]:
    """The input of the sample tier."""
    if isinstance(hp, SampleRNN) and hp.multi_softmax:
        return ["reads no samples"]
    encoding = "as numbers"
    if isinstance(hp, SampleRNN) and hp.sample_input == "embedding":
        encoding = f"embedded in {hp.emb_size}" if hp.emb_size else "one-hot"
    return [f"reads {_samples(hp.sizes[-1])},", encoding]


def _output_boxes(hp: Common) -> list[str]:
    return ["GMM"] if isinstance(hp, RealValued) else ["softmax"]


def _distribution(hp: Common, n: int) -> str:
    """The output distribution of a step that predicts n samples."""
    if isinstance(hp, RealValued):
        return f"{hp.n_components} Gaussians" + (f" in {n} dim." if n > 1 else "")
    assert isinstance(hp, Quantised)
    return f"softmax: {hp.q_levels} levels"


# --- a dilated tree -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tree:
    """The inputs and outputs in the first layers of a WaveNet on which the prediction of x_i depends.

    Attributes
    ----------
    dilations : list of int
        Dilations of the layers shown, from the first one.
    nodes : list of list of int
        Input samples, then outputs of each layer. They have the number of the last sample on which they
        depend, relative to x_i.
    n_samples : int
        Receptive field of the layers shown.
    left_out : list of str
        Descriptions of the layers left out.
    """

    dilations: list[int]
    nodes: list[list[int]]
    n_samples: int
    left_out: list[str]


def tree(hp: WaveNet) -> Tree:
    """The tree of the first layers, as many as fit."""
    L = hp.dilation_layers_per_block
    every = [2**i for i in range(L)] * hp.wavenet_blocks
    fields = [1 + field for field in accumulate(every)]  # receptive field of each layer
    n = sum(field <= MOST_INPUTS for field in fields[:MOST_LAYERS])
    nodes = [[-1]]
    for dilation in reversed(every[:n]):
        nodes.insert(0, sorted({node - back for node in nodes[0] for back in (0, dilation)}))
    return Tree(every[:n], nodes, fields[n - 1], _left_out(hp, n))


def _left_out(hp: WaveNet, n: int) -> list[str]:
    """Describe the layers after the first n: the rest of a block, and whole blocks."""
    L = hp.dilation_layers_per_block
    rest, blocks = -n % L, hp.wavenet_blocks - -(-n // L)
    lines = []
    if rest:
        of = f"dilation {2 ** (L - 1)}" if rest == 1 else f"dilations {2 ** (L - rest)} to {2 ** (L - 1)}"
        lines.append(f"{rest} more layer{'s' * (rest > 1)} of this block, {of}")
    if blocks:
        lines.append(f"{blocks} more block{'s' * (blocks > 1)} of {L} layer{'s' * (L > 1)}")
    return lines
