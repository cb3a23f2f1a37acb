"""The bands of `samplernn show RUN --against reference`: train the runs of its reference, write its file.

    samplernn data speech --out data/speech
    python benchmarks/reference.py --curves build/curves --data speech=data/speech

Trains the preset `demo` on the demo set with seeds 2 and 3 (benchmarks/atlas has seeds 1 and 123), and with
seed 2 on other sets: the babbling voices, all themes of the demo set, and those of --data. A curve that is
in the folder of --curves is not trained again. Writes samplernn_theano/checkpoints/reference.json, and prints
how far runs on other sets are from the middle of their bands. A run takes one to ten minutes on a core.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import bands, causes
from samplernn_theano.checkpoints.bands import Reference
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.data import baselines
from samplernn_theano.data.dataset import Clips, data_sha256, load_split
from samplernn_theano.data.sets import demo
from samplernn_theano.training.hooks import evaluate_split
from samplernn_theano.training.step import compile_trainer
from samplernn_theano.utils.files import atomic_write, write_text
from samplernn_theano.utils.text import format_table
from samplernn_theano.verification import curves

ROOT = Path(__file__).parents[1]
ATLAS, OUT = ROOT / "benchmarks/atlas", ROOT / "samplernn_theano/checkpoints/reference.json"
FAMILIES = ("two_tier", "one_tier", "three_tier", "wavenet")
UPDATES = {"wavenet": 600}  # as in the atlas; of the others 2,000
POINTS = (100, 200, 500, 600, 1000, 2000)  # updates after which valid is scored
SAMPLES = 32_000  # of each clip of valid that are scored on other sets
EDGES = (0, 10, 20, 35, 50, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 500, 600, 700, 800)
EDGES += (1000, 1200, 1500, 1750, 2000)


def valid_clips(name: str, folder: Path) -> Clips:
    """The batch of clips that is scored: of a short split with clips of test."""
    clips = load_split(folder, "valid")
    if name == "demo":
        return np.array(clips)
    both = [clip[:SAMPLES] for split in (clips, load_split(folder, "test")) for clip in split]
    return np.array(both[:8])


def train(family: str, name: str, folder: Path, seed: int, path: Path) -> None:
    """Train, and write `costs` of updates and `valid` [updates, cost]."""
    trainer = compile_trainer(PRESETS[family]["demo"], seed)
    last, clips = UPDATES.get(family, 2000), valid_clips(name, folder)
    costs: list[float] = []
    valid, updates = [], curves.costs(trainer, load_split(folder, "train"))
    for point in (p for p in POINTS if p <= last):
        costs += islice(updates, point - len(costs))
        valid.append((point, evaluate_split(trainer, clips)))
        print(f"{path.stem}  {point:4} updates  valid {valid[-1][1]:.4f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.savez(file, costs=np.array(costs), valid=np.array(valid))


def digest(path: Path, family: str, name: str, seed: int) -> dict[str, Any]:
    """A run as reference.json has it: mean training costs between each two edges, and validation costs."""
    with np.load(path, allow_pickle=False) as found:
        costs, valid = found["costs"], found["valid"]
    edges = [n for n in EDGES if n <= len(costs)]
    return {
        **{"family": family, "set": name, "seed": seed},
        "train": [round(float(costs[a:b].mean()), 3) for a, b in pairwise(edges)],
        "valid": {f"{n:.0f}": round(float(cost), 3) for n, cost in valid if n >= bands.FIRST},
    }


def describe(name: str, folder: Path) -> dict[str, Any]:
    """A set as reference.json has it: by which hash it is known, and its baselines."""
    clips = {"train": load_split(folder, "train"), "valid": valid_clips(name, folder)}
    sounds = {split: causes.listen(each, "min-max") for split, each in clips.items()}
    return {
        "sha256": data_sha256(clips["train"]),
        "unigram": {split: round(sound.unigram, 3) for split, sound in sounds.items() if sound},
        "linear": round(baselines.measure(clips["train"], clips["valid"]).linear, 3),
    }


def distances(stored: Mapping[str, Any]) -> Iterator[list[str]]:
    """How far each run on another set is from the middle of its bands, by updates: train/valid."""
    yield ["", *map(str, POINTS)]
    of_demo = stored["sets"]["demo"]
    for run in stored["runs"]:
        if run["set"] == "demo":
            continue
        own = stored["sets"][run["set"]]
        same = [r for r in stored["runs"] if (r["family"], r["set"]) == (run["family"], "demo")]
        reference = Reference(same, bands.distance(own, of_demo))
        row = []
        for n in POINTS:
            if str(n) not in run["valid"]:
                row.append("")
                continue
            train = bands.mean_cost(run, n // 2, n) - sum(reference.train(n // 2, n)) / 2
            row.append(f"{train:+.2f}/{run['valid'][str(n)] - sum(reference.valid(n)) / 2:+.2f}")
        yield [f"{run['family']} {run['set']} {run['seed']}", *row]


def main() -> None:
    """Train what is missing, write the file, print the distances."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curves", type=Path, required=True, help="folder of the curves, and of the sets")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER", help="another set")
    parser.add_argument(
        "--collect", action="store_true", help="train nothing: write the file of what is there"
    )
    arguments = parser.parse_args()
    folders = {name: arguments.curves / "sets" / name for name in ("demo", "voices", "everything")}
    for name, folder in folders.items():
        if not demo.is_intact(folder, name == "everything", name == "voices"):
            demo.write_voices(folder) if name == "voices" else demo.write(folder, name == "everything")
    folders |= {name: Path(folder) for name, _, folder in (each.partition("=") for each in arguments.data)}
    runs = []
    for path in sorted(ATLAS.glob("*.npz")):
        family, _, seed = path.stem.partition("_seed")
        runs.append(digest(path, family, "demo", int(seed)))
    for name, seed in [("demo", 2), *((name, 2) for name in folders if name != "demo"), ("demo", 3)]:
        for family in FAMILIES:
            path = arguments.curves / f"{family}-{name}-{seed}.npz"
            if not path.exists() and not arguments.collect:
                train(family, name, folders[name], seed, path)
            if path.exists():
                runs.append(digest(path, family, name, seed))
    used = dict.fromkeys(run["set"] for run in runs)
    stored = {"edges": EDGES, "sets": {name: describe(name, folders[name]) for name in used}, "runs": runs}
    lines = [json.dumps(run) for run in runs]
    text = json.dumps(stored | {"runs": []}, indent=1).replace(
        '"runs": []', '"runs": [\n' + ",\n".join(lines) + "]"
    )
    write_text(OUT, text + "\n")
    print("\n".join(format_table(list(distances(stored)))))


if __name__ == "__main__":
    main()
