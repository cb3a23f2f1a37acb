"""Make the models that come with the package from the results of study.sh.

    python reproduce/pretrained.py OUT      (the study's folder)

Writes samplernn_theano/pretrained/DATA_FAMILY.npz, the best checkpoint of each model of table 1 with seed 123
without Adam's moments and states, and its card, DATA_FAMILY.json. Models that are not done are left out.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyloudnorm import Meter
from scipy.signal import welch

from samplernn_theano.checkpoints import npz, pretrained
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.data import audio
from samplernn_theano.data.dataset import load_split
from samplernn_theano.data.manifest import read_manifest
from samplernn_theano.reproduction import plan
from samplernn_theano.reproduction.experiments import read_experiments
from samplernn_theano.reproduction.plan import FIRST_SEED
from samplernn_theano.reproduction.records import read_record
from samplernn_theano.utils.files import write_text
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

FAMILIES = ("one_tier", "wavenet", "two_tier", "three_tier")
SETS = {
    "speech": ("blizzard", "speech", "telephone prompts read by Allison Smith", "cc-by-sa-3.0"),
    "piano": ("music", "demo --everything", "five themes on a synthetic piano", "mit"),
}
"""By name in the names of the models: the set of the paper that it replaces, the arguments of `samplernn
data` that make ours, what it is, and the licence of the models."""

SEED_KEYS = ("seed", "learning_rate", "schedule", "backend", "versions", "devices", "git_revision")
"""Entries of a run's settings that a checkpoint keeps: those without names of folders."""


def make(out: Path, name: str, family: str) -> str:
    """Write a model and its card; return a line about it."""
    set_, made_by, what, licence = SETS[name]
    experiment = f"table1/{set_}/{family}"
    records = {
        step: read_record(plan.record_path(out, step, experiment, FIRST_SEED))
        for step in ("train", "evaluate", "generate")
    }
    unfinished = [step for step, record in records.items() if record.get("status") != "done"]
    if unfinished:
        return f"{name}_{family}: left out, {unfinished[0]} is not done"
    run = out / "runs" / experiment / f"seed{FIRST_SEED}"
    checkpoint = npz.load(run / "checkpoints" / "best.npz")
    settings = {key: checkpoint.settings[key] for key in SEED_KEYS if key in checkpoint.settings}
    path = pretrained.FOLDER / f"{name}_{family}.npz"
    npz.save(path, replace(checkpoint, adam={}, states={}, settings=settings))
    folder = Path(plan.load(out).data[set_])
    manifest = read_manifest(folder)
    trained, scores = records["train"]["result"], records["evaluate"]["result"]
    card = {
        "family": family,
        "title": f"{read_experiments()[experiment].title}, preset demo, {name}",
        "parameters": trained["parameters"],
        "licence": licence,
        "set": folder.name,
        "data": what,
        "data_made_by": f"samplernn data {made_by}",
        "licence_of_the_data": "; ".join(manifest[key] for key in ("licence", "origin") if key in manifest)
        or "synthetic: that of the package",
        "test_split_sha256": manifest["splits"]["test"]["sha256"],
        "trained_by": _command(records["train"]["command"], f"data/{folder.name}", f"runs/{path.stem}"),
        "study": f"reproduce/study.sh, experiment {experiment}",
        "revision": settings["git_revision"],
        "seed": FIRST_SEED,
        "updates": trained["best_iteration"],
        "of_updates": trained["iterations"],
        "unit": "bits per sample",
        "valid": round(scores["valid"]["score"], 4),
        "test": round(scores["test"]["score"], 4),
        "test_standard_error": round(scores["test"]["standard_error"], 4),
        "test_clips": scores["test"]["clips"],
        "sound": _sound(out, records["generate"]["result"]["files"], load_split(folder, "test")),
        "known_differences": _differences(checkpoint.hp, trained["best_iteration"]),
    }
    write_text(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    return f"{path.stem}: {path.stat().st_size / 1e6:.1f} MB, test {card['test']:.4f}; {card['sound']}"


def _differences(hp: HyperParameters, updates: int) -> str:
    """How a model differs from the paper's, in words."""
    theirs = PRESETS[hp.family]["best"]
    pairs = [(own.name, getattr(hp, own.name), getattr(theirs, own.name)) for own in fields(hp)]
    changed = [f"{name} {ours} in place of {best}" for name, ours, best in pairs if ours != best]
    return (
        f"from the paper's model: {', '.join(changed)}; {updates:,} updates in place of days of training; "
        "other data. No number of the paper can be compared with it."
    )


def _command(command: Sequence[str], data: str, run: str) -> str:
    """The command of a training, with other names for its folders, and without what a job adds."""
    words = [word for word in command if word != "--resume"]
    pairs = zip(words[3::2], words[4::2], strict=True)
    names = {"--data": data, "--run": run}
    options = [
        (name, names.get(name, value)) for name, value in pairs if name not in ("--max-time", "--threads")
    ]
    return shlex.join([*words[:3], *(word for pair in options for word in pair)])


def _sound(out: Path, files: Sequence[str], clips: Sequence[NDArray]) -> str:
    """Loudness and spectrum of the generated sounds next to those of the test clips, in words."""
    generated = [audio.read_mono(out / file) for file in files]
    ours, theirs = _measure(generated), _measure([np.asarray(clip, np.float32) for clip in clips])
    return "; ".join(
        f"{what} {mine:{form}} {unit} ({its:{form}} {unit} in the data)"
        for (what, form, unit), mine, its in zip(MEASURES, ours, theirs, strict=True)
    )


MEASURES = ("loudness", ".1f", "LUFS"), ("spectral centroid", ".0f", "Hz"), ("power above 4 kHz", ".1f", "%")


def _measure(sounds: Sequence[NDArray]) -> tuple[float, ...]:
    """Mean loudness, and centroid and high part of the mean power spectrum, of some sounds."""
    meter = Meter(SAMPLE_RATE)
    power = np.mean([welch(sound, SAMPLE_RATE, nperseg=1024)[1] for sound in sounds], axis=0)
    frequencies = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE)
    return (
        np.mean([meter.integrated_loudness(sound.astype(np.float64)) for sound in sounds]),
        (frequencies * power).sum() / power.sum(),
        100 * power[frequencies > 4000].sum() / power.sum(),
    )


def main() -> None:
    """Make all models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    out = parser.parse_args().out
    for name in SETS:
        for family in FAMILIES:
            print(make(out, name, family), flush=True)


if __name__ == "__main__":
    main()
