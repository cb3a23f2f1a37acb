"""Whether a run is where a run of its model should be, for `samplernn show RUN --against reference`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from samplernn_theano.checkpoints import bands, causes
from samplernn_theano.checkpoints.bands import FIRST, GAP, OTHER_SETS, Judged, Reference
from samplernn_theano.checkpoints.causes import Cause, Sound
from samplernn_theano.checkpoints.status import RunStatus
from samplernn_theano.config.hyperparameters import Quantised
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.data import baselines
from samplernn_theano.data.baselines import LEVELS, Baselines
from samplernn_theano.data.dataset import SPLITS, Clips, data_sha256, load_split
from samplernn_theano.errors import DataError
from samplernn_theano.utils.text import escape_control_characters, format_table

PRESET = "demo"
"""The preset whose runs are the reference."""

DEMO = "demo"
"""The set of the reference, made by `samplernn data demo`."""

USUAL = 3.0  # bits per sample of a run without a reference, roughly


class DataSet(NamedTuple):
    """What is known of the set of a run."""

    name: str  # of a set of the reference, or ""
    clips: Mapping[str, Clips]  # the splits that can be read
    sounds: Mapping[str, Sound]  # measures of train and valid
    found: Baselines | None  # fitted on train, of valid
    missing: str  # why there are no clips, or ""


class Verdict(NamedTuple):
    """Where a run is, and why it may be there."""

    lacking: str  # why there is no verdict, or ""
    judged: Sequence[Judged]
    likely: Sequence[Cause]  # of being outside, the likeliest first
    notes: Sequence[Cause]  # what else was measured
    data: DataSet

    @property
    def inside(self) -> bool:
        """True if every cost is in its band."""
        return bool(self.judged) and not any(one.beyond for one in self.judged)


def judge(run: RunStatus, folder: Path | None = None) -> Verdict:
    """Judge a run by its log and settings, and by its data set, which may have moved to `folder`."""
    data, judged = _read(run, folder), []
    lacking = _no_reference(run)
    if not lacking and isinstance(run.hp, Quantised):
        reference = _reference(run.hp, data)
        judged = bands.judge(run, reference) if reference else []
        if not reference:
            lacking = "the set is not the demo set, and without its baselines there is no band for it."
        elif not judged:
            lacking = f"it is too early: a run is judged from {FIRST} updates on."
    middle = [sum(one.band) / 2 for one in judged if one.what == "train" and math.isfinite(one.band[0])]
    found = causes.find(run, data.clips, data.sounds.get("train"), (middle or [USUAL])[0])
    seen = {"gap" if one.what == GAP else "higher" for one in judged if one.beyond > 0}
    seen |= {"lower" for one in judged if one.beyond < 0}
    likely = [cause for cause in found if seen and cause.bits > 0 and cause.towards in (*seen, "any")]
    return Verdict(lacking, judged, likely, [c for c in found if c not in likely], data)


def _read(run: RunStatus, folder: Path | None) -> DataSet:
    where, hashes = folder or Path(run.options.get("data") or "of an unknown name"), dict(run.data_sha256)
    clips: dict[str, Clips] = {}
    sounds: dict[str, Sound] = {}
    found, missing = None, ""
    try:
        if not where.is_dir():
            raise DataError(f"there is no folder {where}; give it with --data.")
        clips = {split: load_split(where, split) for split in SPLITS}
        hashed = {split: data_sha256(of_split) for split, of_split in clips.items()}
        if any(hashes.get(split, digest) != digest for split, digest in hashed.items()):
            raise DataError(f"{where} holds other clips than those of this run (their SHA-256 differs).")
        hashes |= hashed
        normalisation = getattr(run.hp, "normalisation", "min-max")
        heard = {split: causes.listen(clips[split], normalisation) for split in ("train", "valid")}
        sounds = {split: sound for split, sound in heard.items() if sound}
        found = baselines.measure(clips["train"], clips["valid"])
    except DataError as error:
        clips, missing = {}, str(error)
    known = (name for name, of in bands.stored()["sets"].items() if of["sha256"] == hashes.get("train"))
    return DataSet(next(known, ""), clips, sounds, found, missing)


def _runs(family: str) -> list[Mapping[str, Any]]:
    return [run for run in bands.stored()["runs"] if (run["family"], run["set"]) == (family, DEMO)]


def _reference(hp: Quantised, data: DataSet) -> Reference | None:
    """The runs to judge by; None if the set is another one and has no baselines."""
    runs, of_demo = _runs(hp.family), bands.stored()["sets"][DEMO]
    if data.name == DEMO:
        return Reference(runs, None if hp.normalisation == "min-max" else bands.distance(of_demo, of_demo))
    if not data.found or len(data.sounds) < 2:
        return None
    unigram = {split: sound.unigram for split, sound in data.sounds.items()}
    return Reference(runs, bands.distance({"unigram": unigram, "linear": data.found.linear}, of_demo))


def _no_reference(run: RunStatus) -> str:
    """Why no reference run can be compared with this one; empty if some can."""
    hp = run.hp
    if hp is None:
        return "the run's settings are not known."
    if hp.real_valued:
        return f"there is no reference for {hp.family}, whose costs depend on the loudness of the recordings."
    if not _runs(hp.family):
        return f"there are no reference runs of {hp.family}."
    reference = PRESETS[hp.family][PRESET]
    pairs = [(own.name, getattr(hp, own.name), getattr(reference, own.name)) for own in fields(hp)]
    other = [f"{name} {own}, not {its}" for name, own, its in pairs if own != its and name != "normalisation"]
    if run.options.get("ip_weight"):
        other.append("an --ip-weight")
    if other:
        return f"the reference runs are of the preset {PRESET} only, and this run has {', '.join(other)}."
    return ""


# --- text ---------------------------------------------------------------------------------------------------


def describe(run: RunStatus, verdict: Verdict) -> str:
    """The verdict in words."""
    data, lines = verdict.data, []
    if verdict.lacking:
        lines += [*_reached(run, data), f"No verdict: {verdict.lacking}"]
    else:
        worst = max(verdict.judged, key=lambda one: abs(one.beyond))
        if verdict.inside:
            lines.append("Inside the band.")
        else:
            lines.append(
                f"Outside the band: {worst.what} is {_distance(worst)} it at update {worst.update:,}."
            )
        runs = f"{len(_runs(str(run.family)))} runs of {run.family}, preset {PRESET}, on the demo set"
        moved = f", moved to the baselines of this set, and {OTHER_SETS} wider" if data.name != DEMO else ""
        lines.append(f"The band is that of {runs}{moved}.")
        rows = [["bits per sample", "update", "run", "band", ""]]
        rows += [[o.what, f"{o.update:,}", f"{o.cost:.2f}", _range(o), _distance(o)] for o in verdict.judged]
        lines += format_table(rows, right=(1, 2))
        if all(one.what == "train" for one in verdict.judged):
            lines.append("  There is no evaluation to judge yet.")
        lines += _reached(run, data)
    if data.missing:
        lines.append(f"The data set was not read: {data.missing}")
    if verdict.likely:
        lines += ["Likely causes, the likeliest first:"]
        lines += [f"  {i}. {cause.text}" for i, cause in enumerate(verdict.likely, 1)]
    elif verdict.judged and not verdict.inside:
        lines.append("Nothing that was measured explains it: is the sound of another kind, the split uneven?")
    if verdict.notes:
        lines += ["Worth knowing:", *(f"  - {cause.text}" for cause in verdict.notes)]
    elif verdict.lacking and not data.missing:
        lines.append("Its learning rate, costs and clips show nothing unusual.")
    return "\n".join(escape_control_characters(line) for line in lines)


def _reached(run: RunStatus, data: DataSet) -> list[str]:
    """The baselines of the set, and below how many of them the best validation cost is."""
    if not data.found or not isinstance(run.hp, Quantised):
        return []
    reached = ""
    if (run.hp.q_levels, run.hp.q_type, run.hp.normalisation) != (LEVELS, "linear", "min-max"):
        reached = f", if it reads {LEVELS} linear levels from minimum to maximum, unlike this one"
    elif run.valid:
        cost = min(cost for _, cost in run.valid)
        below = sum(cost < one for one in (data.found.unigram, data.found.bigram, data.found.linear))
        which = ("none of them yet", "one of them", "two of them", "all three")[below]
        reached = f"; this run is at {cost:.2f}, below {which}"
    return [f"On valid {baselines.describe(data.found)}{reached}."]


def _range(one: Judged) -> str:
    low, high = one.band
    return f"up to {high:.2f}" if low == -math.inf else f"{low:.2f} to {high:.2f}"


def _distance(one: Judged) -> str:
    if not one.beyond:
        return "inside"
    return f"{abs(one.beyond):.2f} {'above' if one.beyond > 0 else 'below'}"
