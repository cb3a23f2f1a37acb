"""Status of a run, ours or the original's, from the files in its folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.schedule import Progress, Schedule, describe_rate, fraction, stored_schedule
from samplernn_theano.config.settings import read_json
from samplernn_theano.errors import CheckpointError, HyperParameterError
from samplernn_theano.original import results_folder
from samplernn_theano.original.layout import evaluations_of
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.utils.files import is_locked
from samplernn_theano.utils.text import parse_json

type Curve = list[tuple[int, float]]
"""Iterations and costs in bits per sample."""

HUGE = 1e30  # costs that are not drawn, no less than NaN and infinite ones
RECENT = 300.0  # seconds of training over which the speed is measured


@dataclass(frozen=True)
class RunStatus:
    """Status of a run; None is unknown."""

    folder: Path
    state: str  # running, ended, stopped by ..., crashed, not started, converted or original
    family: str | None
    hp: HyperParameters | None
    options: Mapping[str, Any]  # other arguments: data, learning_rate, seed, ...
    n_parameters: int | None  # trained ones
    schedule: Schedule | None
    checkpoint_progress: Mapping[str, Any] | None  # of the original only the iteration
    records: Sequence[Mapping[str, Any]]  # of the log, with iteration and seconds, the earliest first
    data_sha256: Mapping[str, str] = field(default_factory=dict)  # of each split, as far as they are known

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        """Records of evaluations."""
        return [r for r in self.records if r["event"] == "monitor" and _is_number(r.get("valid"))]

    @property
    def train(self) -> Curve:
        """Mean training costs between lines of the log or between evaluations, whichever are more."""
        return max(_curve(self.records, "nll_bits"), _curve(self.evaluations, "train"), key=len)

    @property
    def valid(self) -> Curve:
        """Validation costs."""
        return _curve(self.evaluations, "valid")


def _curve(records: Sequence[Mapping[str, Any]], key: str) -> Curve:
    return [(r["iteration"], r[key]) for r in records if is_cost(r.get(key))]


def is_cost(value: Any) -> bool:
    """True if a value of the log is a cost that can be drawn: neither missing nor NaN, infinite or huge."""
    return _is_number(value) and abs(value) < HUGE


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def read(folder: str | Path) -> RunStatus:
    """Read the status of the run in `folder`. Nothing is written; a running training is not disturbed."""
    run = Run(folder)
    if run.settings.is_file() or run.log.is_file():
        return _ours(run)
    if results_folder.is_result_tree(folder):
        return _original(ResultTree(folder))
    raise run_folder.no_run(run)


def _ours(run: Run) -> RunStatus:
    try:
        settings = read_json(run.settings) if run.settings.exists() else {}
    except HyperParameterError as error:
        raise CheckpointError(str(error)) from error
    header, log = _header(run.last), run_folder.read_log(run)
    # The checkpoint has the schedule of a resumed run, which may differ from the first one.
    settings |= header.get("settings", {})
    progress, schedule = header.get("progress", {}), settings.get("schedule")
    options = {**settings, "learning_rate": describe_rate(stored_schedule(settings))}
    shown = ["data", "learning_rate", "seed", "backend"] + ["ip_weight"] * bool(settings.get("ip_weight"))
    if settings.get("of_fork"):
        options["fork"] = f"{settings['of_fork']} is none of the original's"
    return RunStatus(
        folder=run.folder,
        state=_state(run, log),
        family=settings.get("family"),
        hp=_hyperparameters(settings),
        options={name: options[name] for name in [*shown, "fork"] if options.get(name) is not None},
        n_parameters=next((r["parameters"] for r in reversed(log) if "parameters" in r), None),
        schedule=None if schedule is None else Schedule(**_known(Schedule, schedule)),
        checkpoint_progress=progress if "iteration" in progress else None,
        records=[r for r in log if _is_number(r.get("iteration")) and _is_number(r.get("seconds"))],
        data_sha256=settings.get("data_sha256") or {},
    )


def _header(checkpoint: Path) -> dict[str, Any]:
    """JSON header of a checkpoint, without its arrays; empty if it is missing or damaged."""
    try:
        npz.check_sizes(checkpoint)
        with np.load(checkpoint, allow_pickle=False) as archive:
            return npz.check_about(parse_json(str(archive["about"])))
    except Exception:  # a damaged file can raise anything in zipfile, NumPy's header parser or json
        return {}


def _hyperparameters(settings: Mapping[str, Any]) -> HyperParameters | None:
    try:
        family = FAMILIES[settings["family"]]
        return family(**_known(family, settings.get("hyperparameters", {})))
    except (HyperParameterError, KeyError, TypeError):
        return None


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of `values` that are fields of a dataclass."""
    return {own.name: values[own.name] for own in fields(kind) if own.name in values}


def _state(run: Run, log: Sequence[Mapping[str, Any]]) -> str:
    if is_locked(run.folder):
        return "running"
    # A record "resume" without a backend comes from the original's log.
    ours = [r for r in log if r["event"] in ("start", "stopped", "end") or "backend" in r]
    if not ours:
        return "converted" if log else "not started"
    last = ours[-1]
    if last["event"] == "stopped":
        return f"stopped by {last.get('why') or 'a signal'}"
    return "ended" if last["event"] == "end" else "crashed"


def _original(tree: ResultTree) -> RunStatus:
    family, hp = None, None
    options: dict[str, Any] = {}
    try:
        family = results_folder.family_of(tree)
        if of_fork := results_folder.of_fork(tree):
            options["fork"] = f"{of_fork} is none of the original's"
        found = results_folder.settings(tree)
        hp, options = found.hp, {"data": found.which_set, "learning_rate": found.learning_rate, **options}
    except CheckpointError:
        pass  # without args.pkl, in a folder with another name: only the log is known
    files = results_folder.checkpoints(tree)
    saved = {"iteration": files[-1][0].iteration} if files else None
    log = evaluations_of(results_folder.read_log(tree)) if tree.log.exists() else []
    text = tree.model_settings.read_bytes() if tree.model_settings.is_file() else b""
    counts = re.findall(rb"Total parameter count for this cost:\s*(\d+)", text)
    n_parameters = int(counts[-1]) if counts else None  # of three_tier the last of three
    return RunStatus(tree.folder, "original", family, hp, options, n_parameters, None, saved, log)


def recent_speed(records: Sequence[Mapping[str, Any]]) -> float | None:
    """Iterations per second of training over the last `RECENT` seconds."""
    if not records:
        return None
    last = records[-1]
    recent = [r for r in records if r["seconds"] >= last["seconds"] - RECENT]
    first = recent[0] if recent[0]["seconds"] < last["seconds"] else {"iteration": 0, "seconds": 0.0}
    seconds = last["seconds"] - first["seconds"]
    return (last["iteration"] - first["iteration"]) / seconds if seconds > 0 else None


def schedule_done(run: RunStatus) -> float | None:
    """Fraction of the schedule that is done, at most 1; None without a schedule or a log."""
    if run.schedule is None or not run.records:
        return None
    return min(1.0, fraction(run.schedule, _progress(run)))


def seconds_left(run: RunStatus) -> float | None:
    """Seconds of training to the nearest limit of the schedule, without evaluations; None if unknown."""
    if run.schedule is None or not run.records:
        return None
    now, speed, schedule = _progress(run), recent_speed(run.records), run.schedule
    iterations: list[float | None] = [schedule.max_iters]
    if schedule.max_epochs is not None and run.checkpoint_progress:
        iterations.append(schedule.max_epochs * now.batches_per_epoch)
    limits = [(n - now.iteration) / speed for n in iterations if speed and n is not None]
    if schedule.max_minutes is not None:
        limits.append(60 * schedule.max_minutes - now.seconds)
    return max(0.0, min(limits)) if limits else None


def _progress(run: RunStatus) -> Progress:
    """Progress at the end of the log."""
    last, per_epoch = run.records[-1], int((run.checkpoint_progress or {}).get("batches_per_epoch", 1))
    iteration = last["iteration"]
    epoch = next((r["epoch"] for r in reversed(run.records) if "epoch" in r), 0)
    batch = min(max(0, iteration - epoch * per_epoch), per_epoch) if run.checkpoint_progress else 0
    return Progress(per_epoch, iteration, epoch, batch, last["seconds"])
