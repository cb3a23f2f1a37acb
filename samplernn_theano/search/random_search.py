"""Random search over hyper-parameters by any number of workers that share a folder.

STUDY/journal.log                     Optuna's storage, unless --storage names another
STUDY/trial-007/, trial-007.log       run folder and output of trial 7
STUDY/claims/                         locks: the holder of a lock works on that trial
STUDY/trials.csv, history.png, ...    results

All trials are drawn when the study is opened, so they do not depend on the number of workers. A worker takes
the next trial under a lock of the whole study, trains it in a process of its own, and records the best
validation NLL. That process inherits the lock of the trial, so a running trial whose lock is free was
interrupted; the next worker resumes it. (Optuna's heartbeat needs a database, starts a new trial in place of
resuming the old one, and would do so while the training of a killed worker still runs.)
"""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, load_split
from samplernn_theano.errors import DataError, HyperParameterError, ReproductionError
from samplernn_theano.search import search_space, summary
from samplernn_theano.search.search_space import Space
from samplernn_theano.utils.files import flock, is_locked, locked
from samplernn_theano.utils.signal_handling import handle_signals

INTERRUPTED = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}
"""Exit codes of an interrupted training."""

OF_TRIALS = ("the gradients have exploded", "Out of memory")
"""In errors of a training that are due to its hyper-parameters; others are those of the machine."""


@dataclass(frozen=True)
class Task:
    """The arguments of a search."""

    space: Space
    data: Path
    folder: Path
    trials: int  # of all workers together
    seed: int  # of the drawn values
    limit: Sequence[str]  # option of `samplernn train`: the length of a trial
    machine: Sequence[str] = ()  # options of `samplernn train`: backend and threads
    storage: str | None = None  # URL of a database; None: a journal in the folder
    default_ranges: bool = False  # they change with versions: a search that was begun keeps its own


def search(task: Task) -> int:
    """Run trials of a study until all are taken; return 0, or 128 + the number of the signal received.

    Raises ReproductionError if a training cannot work on this machine; its trial stays to be done.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    if task.default_ranges:
        task = replace(task, space=_as_begun(task))
    drawn = search_space.draw(task.space, task.seed, task.trials)
    about = _description(task, drawn)
    received: list[int] = []
    trainings: list[subprocess.Popen] = []

    def forward(number: int) -> None:
        received.append(number)
        for training in trainings:
            training.terminate()

    with _alone_without_locks(task.folder), handle_signals(forward):
        study = _open_study(task, drawn, about)
        while not received and (taken := _take(study, task)):
            trial, claim = taken
            run = task.folder / f"trial-{trial.number:03d}"
            options = ["--run", str(run), *task.limit, "--n_seqs", "0", "--resume", *task.machine]
            trainings.append(start([*_command(task, trial), *options], run.with_suffix(".log"), claim))
            if received:  # just before
                trainings[-1].terminate()
            code = trainings[-1].wait()
            if code in INTERRUPTED:
                received.append(abs(code) % 128)
                print(f"Trial {trial.number} was interrupted; run the same command again to resume it.")
            elif code == 2 and not any(text in _reason(run) for text in OF_TRIALS):
                os.close(claim)
                _write_results(study, task)
                problem = f"Trial {trial.number} could not be trained: {_reason(run)}"
                raise ReproductionError(f"{problem} Then run the same command again to resume it.")
            else:
                _record(study, task, trial, run, code)
            os.close(claim)
        print(summary.final_message(_write_results(study, task), task.folder, task.limit), flush=True)
    return 128 + received[0] if received else 0


def _description(task: Task, drawn: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The settings of a study, after checking that each trial can be trained."""
    splits = {split: load_split(task.data, split) for split in SPLITS}
    digests: dict[Any, dict[str, str]] = {}  # of the splits, which are read once for each key
    for number, values in enumerate(drawn):
        try:
            hp = search_space.hyperparameters(task.space, values)
            read_for = hp.batch_size, hp.seq_len, getattr(hp, "normalisation", None)
            if read_for not in digests:
                read = {split: minibatches.check_split(clips, split, hp) for split, clips in splits.items()}
                digests[read_for] = read
        except (HyperParameterError, DataError) as error:
            options = shlex.join(search_space.arguments(values))
            raise HyperParameterError(
                f"Trial {number} of these ranges cannot be trained ({options}): {error}"
            ) from error
    about = asdict(task.space) | {"seed": task.seed, "length of trials": task.limit}
    about["data"] = next(iter(digests.values()))
    return json.loads(json.dumps(about))


def _as_begun(task: Task) -> Space:
    """The search space, with the ranges of the search that the folder holds if it is of the same preset."""
    if not _lock_file(task).exists():
        return task.space
    with _alone_without_locks(task.folder), _locked_study(task) as study:
        before = study.user_attrs.get("about", {})
    same = (before.get("family"), before.get("preset")) == (task.space.family, task.space.preset)
    return replace(task.space, ranges=before["ranges"]) if same else task.space


def _open_study(task: Task, drawn: Sequence[dict[str, Any]], about: dict[str, Any]) -> optuna.Study:
    """Open the study, created if it does not exist, and add the trials that it does not have yet."""
    with _locked_study(task) as study:
        before = study.user_attrs.get("about", about)
        study.set_user_attr("about", before)
        for values in drawn[len(study.trials) :] if before == about else []:
            of_trial = {name: search_space.distribution(task.space.ranges[name]) for name in values}
            study.add_trial(create_trial(state=TrialState.WAITING, params=values, distributions=of_trial))
    if other := [name for name, value in about.items() if before.get(name) != value]:
        problem = f"{_where(task)} holds a search with another {other[0]}; give what it was started with"
        raise ReproductionError(f"{problem}, or choose another folder with --study.")
    return study


@contextmanager
def _locked_study(task: Task) -> Iterator[optuna.Study]:
    """The study, created if it does not exist, while no other worker reads or writes it."""
    try:
        with _study_lock(task):
            yield optuna.create_study(
                storage=task.storage or journal(Path(_where(task))),
                study_name=task.folder.absolute().name,
                load_if_exists=True,
            )
    except Exception as error:  # any error of a database, its driver or a damaged journal
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        problem = f"The storage {_where(task)} is damaged or cannot be reached ({reason}); restore a copy"
        hint = "or choose another folder with --study: the trained models stay in this one."
        raise ReproductionError(f"{problem}, {hint}") from error


def _where(task: Task) -> str:
    return task.storage or str(task.folder / "journal.log")


def journal(path: Path) -> BaseStorage:
    """Optuna's journal; an incomplete last line, left by a killed worker, is removed first."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


@contextmanager
def _alone_without_locks(folder: Path) -> Iterator[None]:
    """On a file system without locks, which some have for folders alone, one worker may use the folder."""
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    with (folder / "claims" / "study.lock").open("w") as file:
        has_locks = flock(file.fileno(), fcntl.LOCK_EX)
    with nullcontext() if has_locks else locked(folder):
        yield


@contextmanager
def _study_lock(task: Task) -> Iterator[None]:
    """Wait until no other worker reads or writes the study."""
    with _lock_file(task).open("w") as file:
        flock(file.fileno(), fcntl.LOCK_EX)
        yield


def _lock_file(task: Task) -> Path:
    return task.folder / "claims" / "study.lock"


def _claim(task: Task, number: int) -> int | None:
    """Lock a trial; None if another worker or its training holds the lock.

    The lock lasts while the returned descriptor is open in any process that inherited it. On a file system
    without locks it is that of the run.
    """
    name = f"trial-{number:03d}"
    descriptor = os.open(task.folder / "claims" / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        free = flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) or not is_locked(task.folder / name)
    except BlockingIOError:
        free = False
    if not free:
        os.close(descriptor)
    return descriptor if free else None


def _take(study: optuna.Study, task: Task) -> tuple[FrozenTrial, int] | None:
    """The next trial, an interrupted or a waiting one, and its lock; None if all are taken."""
    with _study_lock(task):
        for trial in study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)):
            if (claim := _claim(task, trial.number)) is not None:
                if trial.state == TrialState.WAITING:
                    study.ask()  # takes the first that waits
                return trial, claim
            if trial.state == TrialState.WAITING:
                raise ReproductionError(f"Another search uses {task.folder}; choose another with --study.")
    return None


def start(command: list[str], output: Path, claim: int) -> subprocess.Popen:
    """Start `samplernn train ...` in a process that keeps the lock of its trial open."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "samplernn_theano", *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            pass_fds=(claim,),
            start_new_session=True,  # so that Ctrl-C does not reach it twice
        )


def _command(task: Task, trial: FrozenTrial) -> list[str]:
    """The command that trains a model with the values of a trial."""
    model = [task.space.family, "--data", str(task.data), "--preset", task.space.preset]
    return ["samplernn", "train", *model, *search_space.arguments(trial.params)]


def _reason(run: Path) -> str:
    """Why a training failed: the last line of its output."""
    return summary.last_line(run.with_suffix(".log"))


def _record(study: optuna.Study, task: Task, trial: FrozenTrial, run: Path, code: int) -> None:
    """Record the result of a training; the output of a failed one ends with the reason."""
    output = run.with_suffix(".log")
    found = summary.measured(run)
    valid = found["valid_bits_per_sample"] if code == 0 else None
    if valid is None and code <= 0:
        reason = "It ended before its first evaluation on the validation set."
        if code < 0:
            reason = f"Killed by {signal.Signals(-code).name}, perhaps out of memory."
        with output.open("a", encoding="utf-8") as file:
            file.write(f"\n{reason}\n")
    with _study_lock(task):
        study.tell(trial.number, valid, TrialState.FAIL if valid is None else TrialState.COMPLETE)
    _write_results(study, task)
    result = f"failed: {_reason(run)}"
    if valid is not None:
        result = f"{valid:.4f} bits per sample (best: {study.best_value:.4f})  {found['minutes']:.1f} min"
    print(f"trial {trial.number}  {result}  {shlex.join(search_space.arguments(trial.params))}", flush=True)


def _write_results(study: optuna.Study, task: Task) -> list[dict[str, Any]]:
    """Write the table and figures; return the rows: done (the best first), running, interrupted, failed."""
    order = ["done", "running", "interrupted", "failed"]
    with _study_lock(task):
        rows = [_row(trial, task) for trial in study.trials if trial.state != TrialState.WAITING]
        rows.sort(key=lambda row: (order.index(row["state"]), row["valid_bits_per_sample"] or 0))
        summary.write(task.folder / "trials.csv", rows)
        summary.draw(task.folder, study)
    return rows


def _row(trial: FrozenTrial, task: Task) -> dict[str, Any]:
    name = f"trial-{trial.number:03d}"
    run = task.folder / name
    state = {TrialState.COMPLETE: "done", TrialState.FAIL: "failed"}.get(trial.state, "running")
    if state == "running" and (claim := _claim(task, trial.number)) is not None:
        os.close(claim)
        state = "interrupted"
    again = [*_command(task, trial), "--run", f"runs/{task.folder.absolute().name}-{name}"]
    return {
        "trial": trial.number,
        "state": state,
        **summary.measured(run),
        "valid_bits_per_sample": trial.value if state == "done" else None,
        **{name: trial.params.get(name) for name in task.space.ranges},
        "message": _reason(run) if state == "failed" else None,
        "command": shlex.join(again),
    }
