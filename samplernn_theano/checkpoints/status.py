"""Where a run stands, by what its folder holds: ours and the original's."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.schedule import Progress, Schedule, fraction
from samplernn_theano.errors import CheckpointError, HyperParameterError
from samplernn_theano.original import results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.utils.files import is_locked

type Curve = list[tuple[int, float]]
"""Iterations and costs in bits per sample."""

RECENT = 300.0  # seconds of training over which the speed is measured


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes
    ----------
    folder : Path
    state : str
        running, ended, stopped by ..., died, not begun, converted (from a run of the original's), or the
        original's, which does not tell.
    family : str or None
        None where nothing tells.
    hp : HyperParameters or None
    options : dict
        What it was asked for beside the hyper-parameters: data, learning_rate, seed, ...
    parameters : int or None
        How many are trained.
    schedule : Schedule or None
    saved : dict or None
        The progress in the last checkpoint, of the original's the iteration alone; None if there is none that
        can be read.
    records : list of dict
        The log: records with iteration and seconds, the earliest first.
    """

    folder: Path
    state: str
    family: str | None
    hp: HyperParameters | None
    options: Mapping[str, Any]
    parameters: int | None
    schedule: Schedule | None
    saved: Mapping[str, Any] | None
    records: Sequence[Mapping[str, Any]]

    @property
    def looks(self) -> list[Mapping[str, Any]]:
        """The records of looks at the validation set."""
        return [r for r in self.records if r["event"] == "monitor" and _is_number(r.get("valid"))]

    @property
    def train(self) -> Curve:
        """Mean training costs: those between the lines of the log or between looks, whichever are more."""
        of_log = _finite(
            (r["iteration"], r["nll_bits"]) for r in self.records if _is_number(r.get("nll_bits"))
        )
        of_looks = _finite((r["iteration"], r["train"]) for r in self.looks if _is_number(r.get("train")))
        return max(of_log, of_looks, key=len)

    @property
    def valid(self) -> Curve:
        """Validation costs."""
        return _finite((look["iteration"], look["valid"]) for look in self.looks)


# --- reading ------------------------------------------------------------------------------------------------


def read(folder: str | Path) -> Standing:
    """Where the run in `folder` stands. Nothing is written, and a run that is being trained is not disturbed.

    Raises
    ------
    CheckpointError
        If it holds no run, or what it holds is damaged.
    """
    run = Run(Path(folder))
    if run.settings.is_file() or run.log.is_file():
        return _ours(run)
    if results_folder.is_result_tree(folder):
        return _original(ResultTree(Path(folder)))
    raise CheckpointError(
        f"{folder} is no folder of a run: it has neither settings.json and log.jsonl nor params/."
    )


def _ours(run: Run) -> Standing:
    about = _about(run.last)
    # A run that goes on may have been given another schedule, which the checkpoint knows.
    settings = _settings(run) | about.get("settings", {})
    log, saved = _log(run), about.get("progress", {})
    schedule = settings.get("schedule")
    return Standing(
        folder=run.folder,
        state=_state(run, log),
        family=settings.get("family"),
        hp=_hyperparameters(settings),
        options=_options(settings),
        parameters=next((r["parameters"] for r in reversed(log) if "parameters" in r), None),
        schedule=None if schedule is None else Schedule(**_known(Schedule, schedule)),
        saved=saved if "iteration" in saved else None,
        records=[r for r in log if _is_number(r.get("iteration")) and _is_number(r.get("seconds"))],
    )


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: settings.get(name) for name in ("data", "learning_rate", "seed", "backend")}
    if settings.get("ip_weight"):
        options["ip_weight"] = settings["ip_weight"]
    return {name: value for name, value in options.items() if value is not None}


def _settings(run: Run) -> dict[str, Any]:
    try:
        settings = json.loads(run.settings.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{run.settings} cannot be read: {error}.") from error
    if not isinstance(settings, dict):
        raise CheckpointError(f"{run.settings} is damaged: it does not hold the settings of a run.")
    return settings


def _log(run: Run) -> list[dict[str, Any]]:
    """The log's records; none where the run has not begun to write."""
    try:
        return run_folder.read_log(run)
    except OSError as error:
        raise CheckpointError(f"{run.log} cannot be read: {error}.") from error


def _about(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says in words, without its arrays; nothing if there is none, or a damaged one."""
    try:
        with np.load(checkpoint, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
    except Exception:  # a damaged file can raise anything in zipfile, NumPy's header parser or json
        return {}
    return about if isinstance(about, dict) else {}


def _hyperparameters(settings: Mapping[str, Any]) -> HyperParameters | None:
    family = FAMILIES.get(settings.get("family", ""))
    if family is None:
        return None
    try:
        return family(**_known(family, settings.get("hyperparameters", {})))
    except (HyperParameterError, TypeError):
        return None


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that a dataclass has a field for."""
    return {own.name: values[own.name] for own in fields(kind) if own.name in values}


def _state(run: Run, log: Sequence[Mapping[str, Any]]) -> str:
    if is_locked(run.folder):
        return "running"
    # A resume without a backend was the original's own.
    ours = [r for r in log if r["event"] in ("start", "stopped", "end") or "backend" in r]
    if not ours:
        return "converted" if log else "not begun"
    last = ours[-1]
    if last["event"] == "stopped":
        return f"stopped by {last.get('why') or 'a signal'}"
    return "ended" if last["event"] == "end" else "died"


def _original(tree: ResultTree) -> Standing:
    family, hp, options = None, None, {}
    try:
        family = results_folder.family_of(tree)
        told = results_folder.settings(tree)
        hp, options = told.hp, {"data": told.which_set, "learning_rate": told.learning_rate}
    except CheckpointError:
        pass  # a folder with another name and no args.pkl still has a log
    files = results_folder.checkpoints(tree)
    return Standing(
        folder=tree.folder,
        state="the original's",
        family=family,
        hp=hp,
        options=options,
        parameters=_count(tree),
        schedule=None,
        saved={"iteration": files[-1][0].iteration} if files else None,
        records=_looks(results_folder.read_log(tree)) if tree.log.exists() else [],
    )


def _looks(log: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The original's log as records of ours. It repeats the last test cost where valid did not improve."""
    keys = {
        "iteration": "iter",
        "epoch": "epoch",
        "seconds": "train time",
        "train": "train NLL (bits)",
        "valid": "valid NLL (bits)",
        "test": results_folder.TEST,
    }
    columns = {ours: log[theirs] for ours, theirs in keys.items() if theirs in log}
    rows = zip(*columns.values(), strict=False)
    return [{"event": "monitor", "seconds": 0.0} | dict(zip(columns, row, strict=True)) for row in rows]


def _count(tree: ResultTree) -> int | None:
    """The number of trained parameters that model_settings.txt says; of three_tier the last of three."""
    try:
        text = tree.model_settings.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    counts = re.findall(r"Total parameter count for this cost:\s*(\d+)", text)
    return int(counts[-1]) if counts else None


# --- how far it is ------------------------------------------------------------------------------------------


def recent_speed(records: Sequence[Mapping[str, Any]]) -> float | None:
    """Iterations per second of training over the last minutes."""
    if not records:
        return None
    last = records[-1]
    recent = [r for r in records if r["seconds"] >= last["seconds"] - RECENT]
    first = recent[0] if recent[0]["seconds"] < last["seconds"] else {"iteration": 0, "seconds": 0.0}
    seconds = last["seconds"] - first["seconds"]
    return (last["iteration"] - first["iteration"]) / seconds if seconds > 0 else None


def schedule_done(run: Standing) -> float | None:
    """How much of the schedule is done, at most 1; None where there is none, or nothing was trained yet."""
    if run.schedule is None or not run.records:
        return None
    return min(1.0, fraction(run.schedule, _progress(run)))


def seconds_left(run: Standing) -> float | None:
    """Seconds of training to the nearest limit of the schedule, looks not counted; None where not known."""
    if run.schedule is None or not run.records:
        return None
    now, speed, limits = _progress(run), recent_speed(run.records), []
    if speed and run.schedule.max_iters is not None:
        limits.append((run.schedule.max_iters - now.iteration) / speed)
    if speed and run.schedule.max_epochs is not None and run.saved:
        limits.append((run.schedule.max_epochs * now.batches_per_epoch - now.iteration) / speed)
    if run.schedule.max_minutes is not None:
        limits.append(60 * run.schedule.max_minutes - now.seconds)
    return max(0.0, min(limits)) if limits else None


def _progress(run: Standing) -> Progress:
    """The progress at the end of the log."""
    last, per_epoch = run.records[-1], int((run.saved or {}).get("batches_per_epoch", 1))
    iteration = last["iteration"]
    epoch = next((r["epoch"] for r in reversed(run.records) if "epoch" in r), 0)
    batch = min(max(0, iteration - epoch * per_epoch), per_epoch) if run.saved else 0
    return Progress(per_epoch, iteration, epoch, batch, last["seconds"])


# --- helpers ------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _finite(points: Any) -> Curve:
    return [(iteration, cost) for iteration, cost in points if math.isfinite(cost)]
