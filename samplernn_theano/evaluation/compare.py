"""Compare two models: hyper-parameters, parameters, and scores on the same clips.

Distances are relative: ||A - B|| / ||A||, norms over all elements (Frobenius), computed in float64.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import load
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.data.dataset import Clips
from samplernn_theano.evaluation import nll, score_report
from samplernn_theano.evaluation.nll import Scores
from samplernn_theano.evaluation.standard_errors import standard_error
from samplernn_theano.utils.text import format_table


@dataclass(frozen=True)
class Distance:
    """The distance between a parameter of A and that of B.

    The effective weights W · g / ||W|| of a weight-normalised layer do not depend on the scale of its W.
    """

    relative: float  # ||A - B|| / ||A||; infinite if A is zero and B is not
    largest: float  # absolute difference of an element
    effective: float | None = None  # of the W of a weight-normalised layer: relative, of effective weights


@dataclass(frozen=True)
class Comparison:
    """Differences between two models A and B, by name."""

    settings: dict[str, tuple[object, object]]  # family and hyper-parameters; "-" if one has none of the name
    only_a: list[str]  # parameters that only A has
    only_b: list[str]
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]  # parameters whose shapes differ
    distances: dict[str, Distance]  # all other parameters
    equal: bool  # the same parameters, bit for bit


# --- parameters ---------------------------------------------------------------------------------------------


def compare(a: LoadedModel, b: LoadedModel) -> Comparison:
    """Compare hyper-parameters and parameters of two models, of one family or of two."""
    A, B = a.parameters, b.parameters
    shared = sorted(name for name in A if name in B)
    alike = [name for name in shared if A[name].shape == B[name].shape]
    return Comparison(
        settings=_differing_settings(a.hp, b.hp),
        only_a=sorted(A.keys() - B.keys()),
        only_b=sorted(B.keys() - A.keys()),
        shapes={name: (A[name].shape, B[name].shape) for name in shared if name not in alike},
        distances={name: _distance(A, B, name) for name in alike},
        equal=len(A) == len(B) == len(alike) and all(A[n].tobytes() == B[n].tobytes() for n in alike),
    )


def relative_distance(a: NDArray, b: NDArray) -> float:
    """||a - b|| / ||a||; 0 if both are zero."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    distance = np.linalg.norm(a - b)
    if distance == 0:
        return 0.0
    with np.errstate(divide="ignore"):
        return float(distance / np.linalg.norm(a))


def _distance(A: Mapping[str, NDArray], B: Mapping[str, NDArray], name: str) -> Distance:
    a, b = (np.asarray(x[name], np.float64) for x in (A, B))
    effective, gain = None, name.removesuffix("W0") + "g0"
    if name.endswith(".W0") and gain in A and gain in B:
        with np.errstate(invalid="ignore"):  # a column of zeros has no direction
            weights = (W * (x[gain] / np.linalg.norm(W, axis=0)) for W, x in ((a, A), (b, B)))
            effective = relative_distance(*weights)
    return Distance(relative_distance(a, b), float(np.abs(a - b).max(initial=0)), effective)


def _differing_settings(a: HyperParameters, b: HyperParameters) -> dict[str, tuple[object, object]]:
    one, other = ({"family": hp.family} | asdict(hp) for hp in (a, b))
    pairs = {name: (one.get(name, "-"), other.get(name, "-")) for name in one | other}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# --- costs --------------------------------------------------------------------------------------------------


def score_both(
    a: LoadedModel,
    b: LoadedModel,
    clips: Clips,
    backend: str | None = None,
    progress: bool = False,
    recordings: NDArray[np.int64] | None = None,
) -> tuple[Scores, Scores]:
    """Score both models on the clips, each with its own hyper-parameters; see `nll.load_recordings`."""
    load.build(b)  # checks the parameters of B before A is scored
    scorer = nll.compile_scorer(a, backend)
    scores_a = nll.score_split(scorer, clips, progress, recordings)
    if a.hp == b.hp:  # no need to compile again
        scorer.graph.parameters.assign(b.parameters)
    else:
        scorer = nll.compile_scorer(b, backend)
    return scores_a, nll.score_split(scorer, clips, progress, recordings)


def differences(a: Scores, b: Scores) -> NDArray[np.float64]:
    """Bits per sample of A minus those of B, for each clip that both score: some may not fill a batch."""
    n = min(len(a.clips), len(b.clips))
    return a.clips[:n] - b.clips[:n]


# --- text ---------------------------------------------------------------------------------------------------


def describe_comparison(comparison: Comparison) -> str:
    """Describe the differences in text and a table."""

    def pairs(title: str, differing: Mapping[str, tuple[object, object]]) -> list[str]:
        return [title, *(f"  {name}: {a} in A, {b} in B" for name, (a, b) in differing.items())]

    lines = pairs("Hyper-parameters that differ:", comparison.settings)
    if not comparison.settings:
        lines = ["Hyper-parameters: equal"]
    for which, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        if names:
            lines.append(f"Parameters only in {which}:")
            lines.append(textwrap.fill(", ".join(names), 110, initial_indent="  ", subsequent_indent="  "))
    if comparison.shapes:
        lines += pairs("Parameters of other shapes:", comparison.shapes)
    if comparison.equal:
        lines.append(f"Parameters: all {len(comparison.distances)} are equal, bit for bit")
    elif comparison.distances:
        lines += _table(comparison.distances)
    else:
        lines.append("No parameter of one has the name and the shape of one of the other.")
    return "\n".join(lines)


def _table(distances: Mapping[str, Distance]) -> list[str]:
    rows = [["", "relative", "largest", "effective"]]
    for name, d in distances.items():
        rows.append([name, *("" if x is None else f"{x:.3g}" for x in (d.relative, d.largest, d.effective))])
    return [
        "Parameters: the relative distance ||A - B|| / ||A|| (Frobenius norm); the largest difference of an",
        "element; and the relative distance of the effective weights, W0 g0 / ||W0||, of weight-normalised",
        "layers, whose gains are g0:",
        *format_table(rows, right=(1, 2, 3)),
    ]


def describe_scores(a: Scores, b: Scores, split: str, hp_a: HyperParameters, hp_b: HyperParameters) -> str:
    """Describe the scores of both, and their difference per clip."""
    lines = []
    for name, scores, hp in (("A", a, hp_a), ("B", b, hp_b)):
        first, *rest = score_report.describe_split(scores, split, hp).split("\n")
        lines += [f"{name}, {first}", *(f"{name}, {line}" for line in rest)]
    d = differences(a, b)
    shorter = min(a, b, key=lambda scores: len(scores.clips))
    error = standard_error(d, shorter.recordings)
    over = f" over {score_report.population(shorter)}" if shorter.recordings is not None else ""
    lines.append(
        f"A - B: {d.mean():+.4f} bits per sample, mean over {len(d)} clips that both score (standard error "
        f"{error:.4f}{over}, paired); A is better in {(d < 0).sum()}, B in {(d > 0).sum()}"
    )
    units = ("q_levels", "q_type", "normalisation", "mean", "std")
    different = ", ".join(name for name in _differing_settings(hp_a, hp_b) if name in units)
    if isinstance(hp_a, RealValued) != isinstance(hp_b, RealValued):
        different = "levels and real numbers"
    if different:
        lines.append(f"Their samples have different units ({different}): these bits do not compare.")
    return "\n".join(lines)
