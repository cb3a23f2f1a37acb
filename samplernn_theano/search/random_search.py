"""Random search over hyper-parameters, by any number of workers on machines that share a folder.

STUDY/journal.log            Optuna's storage, unless --storage names another
STUDY/trial-007/             the run of trial 7, as `samplernn train` leaves it
STUDY/trial-007.log          what it printed
STUDY/claims/                locks: who holds one works on that trial
STUDY/trials.csv, trials.md, search.png

A worker takes the next trial under a lock of the whole study, trains it in a process of its own, and records
the best validation NLL. That process inherits the lock of the trial: if the worker is killed, the trial is
free only when its training has ended as well. What was taken and is not held any more was interrupted, and
the next worker goes on with its run.
"""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.data import minibatches
from samplernn_theano.data.dataset import SPLITS, data_sha256, load_split
from samplernn_theano.errors import DataError, HyperParameterError, OutputError, ReproductionError
from samplernn_theano.search import search_space, summary
from samplernn_theano.search.search_space import SeededByTrial, Space
from samplernn_theano.search.summary import Row
from samplernn_theano.utils import signal_handling
from samplernn_theano.utils.files import write_error_message

STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}
"""Exit codes of a training that was asked to end."""


@dataclass(frozen=True)
class Task:
    """What is searched for, where and how long.

    Attributes
    ----------
    space : Space
        What is fixed and what is drawn.
    data, folder : Path
        Of the data set and of the study.
    trials : int
        In all, of all workers.
    seed : int
        Of the draws.
    limit, machine : sequence of str
        Words of `samplernn train`: when a trial ends, and what this machine computes with.
    storage : str or None
        The URL of a data base; None: a journal in the folder.
    """

    space: Space
    data: Path
    folder: Path
    trials: int
    seed: int
    limit: Sequence[str]
    machine: Sequence[str] = ()
    storage: str | None = None


@dataclass
class Stop:
    """The first SIGINT or SIGTERM, passed on to the training under way."""

    received: list[int] = field(default_factory=list)
    child: subprocess.Popen | None = None
    passed_on: bool = False

    def take(self, number: int) -> None:
        """Note a signal down, and pass it on."""
        self.received.append(number)
        self.pass_on()

    def pass_on(self) -> None:
        """Ask the training to end, once: a second signal would kill it."""
        if self.received and self.child and not self.passed_on:
            self.passed_on = True
            self.child.terminate()


type Train = Callable[[list[str], Path, int, Stop], int]
"""Runs the words of a command, prints into a file, keeps a lock open; returns the exit code."""


def search(task: Task, train: Train | None = None) -> int:
    """Work on the trials of a study until all are taken.

    Returns
    -------
    int
        0, or 128 + the number of the signal that stopped it.

    Raises
    ------
    DataError
        If the data are missing.
    HyperParameterError
        If some trial's values contradict each other, or do not fit the data.
    ReproductionError
        If the study is another one or cannot be read.
    OutputError
        If the folder cannot be written to.
    """
    about = _about(task)
    with _together(task):
        study = _open_study(task, about)
    stop = Stop()
    with signal_handling.handle_signals(stop.take):
        while not stop.received:
            with _together(task):
                taken = _take(study, task)
            if taken is None:
                break
            trial, claim = taken
            try:
                code = _run(study, task, trial, claim, stop, train or train_in_a_process)
            finally:
                os.close(claim)
            if code in STOPPED:
                stop.received.append(abs(code) % 128)
                print(f"Trial {trial.number} was stopped; the same command goes on with it.", flush=True)
        with _together(task):
            rows = _rows(study, task)
            summary.write(task.folder, rows, _facts(study, task))
        print(summary.last_words(task.folder, rows, task.limit), flush=True)
        return 128 + stop.received[0] if stop.received else 0


# --- the study ----------------------------------------------------------------------------------------------


def _about(task: Task) -> dict[str, Any]:
    """What makes two studies the same, after all trials were drawn once to see that they can be trained."""
    splits = {split: load_split(task.data, split) for split in SPLITS}
    for number, values in enumerate(search_space.preview(task.space, task.seed, task.trials)):
        try:
            hp = search_space.hyperparameters(task.space, values)
            for split, clips in splits.items():
                minibatches.check_split(clips, split, hp)
        except (HyperParameterError, DataError) as error:
            drawn = shlex.join(search_space.flag_words(task.space, values))
            raise HyperParameterError(
                f"Trial {number} of these ranges cannot be trained ({drawn}): {error}"
            ) from error
    about = asdict(task.space) | {"seed": task.seed, "limit": task.limit}
    about["data"] = {split: data_sha256(clips) for split, clips in splits.items()}
    return json.loads(json.dumps(about))


def _open_study(task: Task, about: dict[str, Any]) -> optuna.Study:
    """The study, made if it is not there."""
    where = task.storage or str(_journal(task))
    try:
        study = optuna.create_study(
            storage=task.storage or _journal_storage(_journal(task)),
            study_name=task.folder.absolute().name,
            sampler=SeededByTrial(task.seed),
            load_if_exists=True,
        )
        before = study.user_attrs.get("about")
        if before is None:
            study.set_user_attr("about", about)
    except OSError as error:
        raise OutputError(write_error_message(Path(where), error)) from error
    except Exception as error:  # whatever a data base, its driver or a damaged journal raises
        told = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ReproductionError(
            f"The storage {where} is damaged or cannot be reached ({told}); put back a copy, or choose "
            "another folder with --study: what was trained stays in this one."
        ) from error
    for name, value in about.items():
        if before is not None and before.get(name) != value:
            flag = name if name in ("family", "fixed") else f"--{'max-...' if name == 'limit' else name}"
            raise ReproductionError(
                f"{where} holds a search with another {flag}; give what it was begun with, or choose another "
                "folder with --study."
            )
    return study


def _journal(task: Task) -> Path:
    return task.folder / "journal.log"


def _journal_storage(path: Path) -> BaseStorage:
    """Optuna's journal; a last line that a killed worker cut short is taken away first."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


# --- who works on what --------------------------------------------------------------------------------------


@contextmanager
def _together(task: Task) -> Iterator[None]:
    """Wait until no other worker reads or writes the study, and keep them waiting."""
    descriptor = _lock(task.folder / "claims" / "study.lock", wait=True)
    assert descriptor is not None
    try:
        yield
    finally:
        os.close(descriptor)


def _claim(task: Task, number: int) -> int | None:
    """The lock of a trial, None where another worker or its training holds it."""
    return _lock(task.folder / "claims" / f"{name_of(number)}.lock", wait=False)


def _lock(path: Path, wait: bool) -> int | None:
    """A descriptor of the file `path`, locked as long as it is open in any process that inherited it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(write_error_message(path, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _take(study: optuna.Study, task: Task) -> tuple[optuna.Trial, int] | None:
    """A trial to work on and its lock: one that was interrupted, else a new one, None where all are taken."""
    trials = study.get_trials(deepcopy=False)
    for before in trials:
        if before.state == TrialState.RUNNING and (claim := _claim(task, before.number)) is not None:
            trial = optuna.Trial(study, before._trial_id)
            search_space.draw(trial, task.space.ranges)  # what it lacks, if its worker was killed at once
            return trial, claim
    if len(trials) >= task.trials:
        return None
    trial = study.ask()
    search_space.draw(trial, task.space.ranges)
    claim = _claim(task, trial.number)
    if claim is None:  # of another study that was in this folder
        raise ReproductionError(f"Another search works in {task.folder}; choose another folder with --study.")
    return trial, claim


def name_of(number: int) -> str:
    """The folder of a trial's run."""
    return f"trial-{number:03d}"


# --- one trial ----------------------------------------------------------------------------------------------


def _run(study: optuna.Study, task: Task, trial: optuna.Trial, claim: int, stop: Stop, train: Train) -> int:
    """Train a trial and record what became of it; returns the exit code of its training."""
    run = run_folder.Run(task.folder / name_of(trial.number))
    output = task.folder / f"{name_of(trial.number)}.log"
    values = search_space.values_of(task.space.ranges, trial.params)
    words = [*_command(task, values), "--run", str(run.folder), *task.limit, "--n_seqs", "0", "--resume"]
    code = train([*words, *task.machine], output, claim, stop)
    if code in STOPPED:
        return code
    found = summary.result(run)
    valid = found.pop("valid")
    with _together(task):
        for name, value in found.items():
            trial.set_user_attr(name, value)
        if code == 0 and valid is not None:
            study.tell(trial.number, valid)
        else:
            trial.set_user_attr("message", _why(code, output))
            study.tell(trial.number, state=TrialState.FAIL)
        rows = _rows(study, task)
        summary.write(task.folder, rows, _facts(study, task))
    print(summary.line(trial.number, rows), flush=True)
    return code


def _command(task: Task, values: dict[str, Any]) -> list[str]:
    """The words that train a model of these values."""
    words = ["samplernn", "train", task.space.family, "--data", str(task.data), "--preset", task.space.preset]
    return words + search_space.flag_words(task.space, values)


def train_in_a_process(words: list[str], output: Path, claim: int, stop: Stop) -> int:
    """Run `samplernn train ...` in a process of its own; see `Train`."""
    environment = os.environ | {"TQDM_DISABLE": "1"}
    with output.open("ab") as file:
        stop.child = subprocess.Popen(
            [sys.executable, "-m", "samplernn_theano", *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            pass_fds=(claim,),
            start_new_session=True,  # else Ctrl-C would reach it twice
        )
        stop.pass_on()  # a signal that came just before
        code = stop.child.wait()
    stop.child = None
    return code


def _why(code: int, output: Path) -> str:
    """A sentence for a training that failed."""
    if code < 0:
        return f"Killed by {signal.Signals(-code).name}, perhaps for want of memory; see {output.name}."
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    last = (text.strip().splitlines() or [""])[-1].strip()
    if code == 0:
        return f"It ended before it looked at the validation set; see {output.name}."
    if last.startswith("samplernn: "):
        return last.removeprefix("samplernn: ")
    return f"Exit code {code}: {last or 'no word'}; see {output.name}."


# --- what the tables tell -----------------------------------------------------------------------------------


def _rows(study: optuna.Study, task: Task) -> list[Row]:
    """All trials, the best first, then those in work, then those that failed."""
    rows = [_row(trial, task) for trial in study.get_trials(deepcopy=False)]
    order = ["done", "running", "stopped", "failed"]
    return sorted(rows, key=lambda row: (order.index(row.state), row.valid or 0.0, row.number))


def _row(trial: FrozenTrial, task: Task) -> Row:
    values = search_space.values_of(task.space.ranges, trial.params)
    again = [*_command(task, values), "--run", f"runs/{task.folder.absolute().name}-{name_of(trial.number)}"]
    return Row(
        number=trial.number,
        state=_state(trial, task),
        valid=trial.value if trial.state == TrialState.COMPLETE else None,
        drawn=trial.params,
        values=values,
        attributes=trial.user_attrs,
        command=shlex.join(again),
    )


def _state(trial: FrozenTrial, task: Task) -> str:
    if trial.state != TrialState.RUNNING:
        return "done" if trial.state == TrialState.COMPLETE else "failed"
    if (claim := _claim(task, trial.number)) is None:
        return "running"
    os.close(claim)
    return "stopped"


def _facts(study: optuna.Study, task: Task) -> summary.Facts:
    fixed = [part for name, word in task.space.fixed.items() for part in (search_space.flag(name), word)]
    return summary.Facts(
        family=task.space.family,
        preset=task.space.preset,
        fixed=shlex.join(fixed),
        ranges=task.space.ranges,
        seed=task.seed,
        trials=task.trials,
        limit=task.limit,
        importances=summary.importances(study),
    )
