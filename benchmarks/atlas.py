"""Learning curves of 2,000 updates next to the original's: the same seeds, the same minibatches.

    python benchmarks/atlas.py                   train every case that has not been yet, then compare
    python benchmarks/atlas.py --case three_tier_seed123

Ours go to benchmarks/atlas/NAME.npz, with keys as of the original's in tests/golden/atlas, the picture to
docs/atlas.png. A case takes one to five minutes on a core.
"""

import argparse
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib import use
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.training.hooks import evaluate_split
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.text import format_table
from samplernn_theano.verification import curves
from samplernn_theano.verification.cases import Case, choose_cases

ROOT = Path(__file__).parents[1]
THEIRS, OURS, PICTURE = ROOT / "tests/golden/atlas", ROOT / "benchmarks/atlas", ROOT / "docs/atlas.png"
WINDOWS = (10, 50, 100, 200, 1000, 2000)  # updates up to which differences are tabulated
SMOOTH = 25  # updates in a point of the picture

type Arrays = Mapping[str, NDArray]


def train(case: Case, backend: str) -> Arrays:
    """Train as the case was: `costs` of updates, `valid` [updates, cost] at its points, `test` at the end."""
    hp, _ = from_original_argv(FAMILIES[case.family], case.settings["argv"])
    trainer = curves.compile_case(case, hp, backend=backend)
    clips = curves.demo_clips()
    costs, valid, updates = [], [], curves.costs(trainer, clips["train"])
    for point in case.arrays["valid"][:, 0].astype(int):
        costs += islice(updates, int(point) - len(costs))
        valid.append((point, evaluate_split(trainer, clips["valid"])))
        print(f"{case.name}  {point:4} updates  valid {valid[-1][1]:.4f}", flush=True)
    return {
        "costs": np.array(costs),
        "valid": np.array(valid),
        "test": np.array(evaluate_split(trainer, clips["test"])),
    }


def differences(cases: Mapping[str, tuple[Arrays, Arrays]]) -> str:
    """A table: the largest and the mean |ours - original| of the training cost, by parts of the curve."""
    rows = [["case", *(f"to {end}" for end in WINDOWS)]]
    for name, (ours, theirs) in cases.items():
        delta = np.abs(ours["costs"] - theirs["costs"])
        parts = [delta[begin:end] for begin, end in zip((0, *WINDOWS), WINDOWS, strict=False)]
        rows.append([name, *(f"{x.max():.1e} ({x.mean():.1e})" if len(x) else "" for x in parts)])
    return "\n".join(format_table(rows))


def validation(cases: Mapping[str, tuple[Arrays, Arrays]]) -> str:
    """A table of the costs of valid and test, and a paired test of equality over the runs."""
    rows = [["case", "updates", "ours, valid", "original", "difference"]]
    pairs = []
    for name, (ours, theirs) in cases.items():
        both = zip(ours["valid"][1:], theirs["valid"][1:, 1], strict=True)
        points = [(f"{n:.0f}", float(a), float(b)) for (n, a), b in both]
        points.append(("test", float(ours["test"]), float(theirs["test"])))
        rows += [[name, when, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}"] for when, a, b in points]
        pairs += [(name, when, a - b) for when, a, b in points]
    lines = format_table(rows, right=(1, 2, 3, 4))
    for when in ("500", "1000", "2000", "test"):
        found = np.array(
            [delta for name, at, delta in pairs if at == when and not name.startswith("wavenet")]
        )
        test = stats.ttest_1samp(found, 0)
        low, high = test.confidence_interval()
        lines.append(
            f"{when}: ours - original {found.mean():+.4f} bits over {len(found)} runs, 95 % interval "
            f"[{low:+.4f}, {high:+.4f}], p = {test.pvalue:.2f}"
        )
    return "\n".join(lines)


def draw(cases: Mapping[str, tuple[Arrays, Arrays]]) -> Figure:
    """Both curves of each case, and below them the difference of every update."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    found = {name.partition("_seed")[0] for name in cases}
    families = [family for family in ("one_tier", "two_tier", "three_tier", "wavenet") if family in found]
    panels = figure.subplots(2, len(families), squeeze=False, sharex="col", height_ratios=(2, 1))
    for (above, below), family in zip(panels.T, families, strict=True):
        seeds = {name: both for name, both in cases.items() if name.partition("_seed")[0] == family}
        for i, (name, (ours, theirs)) in enumerate(seeds.items()):
            n = len(theirs["costs"]) // SMOOTH * SMOOTH
            updates = np.arange(n).reshape(-1, SMOOTH).mean(axis=1)
            seed = name.partition("_seed")[2]
            for arrays, label, style in (
                (theirs, f"original, seed {seed}", {"lw": 3.5, "alpha": 0.35}),
                (ours, f"ours, seed {seed}", {"lw": 1}),
            ):
                smooth = arrays["costs"][:n].reshape(-1, SMOOTH).mean(axis=1)
                above.plot(updates, smooth, color=f"C{i}", label=label, **style)
            above.plot(*theirs["valid"].T, "o", ms=8, mfc="none", color=f"C{i}")
            above.plot(
                *ours["valid"].T, ".", ms=6, color=f"C{i}", label=None if i else "valid: rings the original's"
            )
            below.semilogy(np.abs(ours["costs"] - theirs["costs"]) + 1e-9, lw=0.4, color=f"C{i}")
        above.set_title(family)
        above.legend(fontsize=7)
        below.set(xlabel="updates", ylim=(1e-8, 3))
        for axes in (above, below):
            axes.grid(alpha=0.3)
    panels[0, 0].set_ylabel("bits per sample")
    panels[1, 0].set_ylabel("|ours - original|")
    return figure


def main() -> None:
    """Train what is missing, compare, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", help="train only this case (repeatable)")
    parser.add_argument("--backend", default="jax")
    arguments = parser.parse_args()
    use("agg")
    found: dict[str, tuple[Arrays, Arrays]] = {}
    for case in choose_cases(THEIRS):
        path = OURS / f"{case.name}.npz"
        if not path.exists() and (not arguments.case or case.name in arguments.case):
            ours = train(case, arguments.backend)
            with atomic_write(path) as file:
                np.savez(file, **ours)
        if path.exists():
            with np.load(path, allow_pickle=False) as ours:
                found[case.name] = dict(ours), case.arrays
    print(differences(found), validation(found), sep="\n\n")
    with atomic_write(PICTURE) as file:
        draw(found).savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    main()
