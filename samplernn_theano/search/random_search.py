"""Random search over hyper-parameters by any number of workers that share a folder.

STUDY/journal.log            Optuna's storage, unless --storage names another
STUDY/trial-007/             run folder of trial 7
STUDY/trial-007.log          its output
STUDY/claims/                locks: the holder of a lock works on that trial
STUDY/trials.csv, trials.md, search.png

A worker takes the next trial under a lock of the whole study, trains it in a process of its own, and records
the best validation NLL. That process inherits the lock of the trial: if the worker is killed, the trial is
free only when its training has ended as well. A running trial whose lock is free was interrupted; the next
worker resumes it.
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

INTERRUPTED = {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}
"""Exit codes of an interrupted training."""


@dataclass(frozen=True)
class Task:
    """The arguments of a search.

    Attributes
    ----------
    space : Space
        Fixed and drawn hyper-parameters.
    data, folder : Path
        Folders of the data set and of the study.
    trials : int
        Total number of trials of all workers.
    seed : int
        Seed of the drawn values.
    limit, machine : sequence of str
        Options of `samplernn train`: the length of a trial; backend and threads.
    storage : str or None
        URL of a database; None: a journal in the folder.
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
    """The first SIGINT or SIGTERM, forwarded to the running training."""

    received: list[int] = field(default_factory=list)
    child: subprocess.Popen | None = None
    forwarded: bool = False

    def handle(self, number: int) -> None:
        """Record a signal and forward it."""
        self.received.append(number)
        self.forward()

    def forward(self) -> None:
        """Terminate the training, once: a second signal would kill it."""
        if self.received and self.child and not self.forwarded:
            self.forwarded = True
            self.child.terminate()


type Train = Callable[[list[str], Path, int, Stop], int]
"""Run a command, write its output to a file, keep a lock open; return the exit code."""


def search(task: Task, train: Train | None = None) -> int:
    """Run trials of a study until all are taken.

    Returns
    -------
    int
        0, or 128 + the number of the signal received.

    Raises
    ------
    DataError
        If the data are missing.
    HyperParameterError
        If the values of a trial contradict each other, or do not fit the data.
    ReproductionError
        If the study has other settings or cannot be read.
    OutputError
        If the folder cannot be written to.
    """
    about = _description(task)
    with _study_lock(task):
        study = _open_study(task, about)
    stop = Stop()
    with signal_handling.handle_signals(stop.handle):
        while not stop.received:
            with _study_lock(task):
                taken = _take(study, task)
            if taken is None:
                break
            trial, claim = taken
            try:
                code = _run(study, task, trial, claim, stop, train or train_in_subprocess)
            finally:
                os.close(claim)
            if code in INTERRUPTED:
                stop.received.append(abs(code) % 128)
                print(
                    f"Trial {trial.number} was interrupted; run the same command again to resume it.",
                    flush=True,
                )
        with _study_lock(task):
            rows = _rows(study, task)
            summary.write(task.folder, rows, _facts(study, task))
        print(summary.final_message(task.folder, rows, task.limit), flush=True)
        return 128 + stop.received[0] if stop.received else 0


# --- the study ----------------------------------------------------------------------------------------------


def _description(task: Task) -> dict[str, Any]:
    """The settings of a study, after checking that each trial can be trained."""
    splits = {split: load_split(task.data, split) for split in SPLITS}
    for number, values in enumerate(search_space.preview(task.space, task.seed, task.trials)):
        try:
            hp = search_space.hyperparameters(task.space, values)
            for split, clips in splits.items():
                minibatches.check_split(clips, split, hp)
        except (HyperParameterError, DataError) as error:
            drawn = shlex.join(search_space.arguments(task.space, values))
            raise HyperParameterError(
                f"Trial {number} of these ranges cannot be trained ({drawn}): {error}"
            ) from error
    about = asdict(task.space) | {"seed": task.seed, "limit": task.limit}
    about["data"] = {split: data_sha256(clips) for split, clips in splits.items()}
    return json.loads(json.dumps(about))


def _open_study(task: Task, about: dict[str, Any]) -> optuna.Study:
    """Open the study, created if it does not exist."""
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
    except Exception as error:  # any error of a database, its driver or a damaged journal
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ReproductionError(
            f"The storage {where} is damaged or cannot be reached ({reason}); restore a copy, or choose "
            "another folder with --study: the trained models stay in this one."
        ) from error
    for name, value in about.items():
        if before is not None and before.get(name) != value:
            flag = name if name in ("family", "fixed") else f"--{'max-...' if name == 'limit' else name}"
            raise ReproductionError(
                f"{where} holds a search with another {flag}; give the value that it was started with, or "
                "choose another folder with --study."
            )
    return study


def _journal(task: Task) -> Path:
    return task.folder / "journal.log"


def _journal_storage(path: Path) -> BaseStorage:
    """Optuna's journal; an incomplete last line, left by a killed worker, is removed first."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


# --- locks --------------------------------------------------------------------------------------------------


@contextmanager
def _study_lock(task: Task) -> Iterator[None]:
    """Lock the study: wait until no other worker reads or writes it."""
    descriptor = _lock(task.folder / "claims" / "study.lock", wait=True)
    assert descriptor is not None
    try:
        yield
    finally:
        os.close(descriptor)


def _claim(task: Task, number: int) -> int | None:
    """Lock a trial; None if another worker or its training holds the lock."""
    return _lock(task.folder / "claims" / f"{name_of(number)}.lock", wait=False)


def _lock(path: Path, wait: bool) -> int | None:
    """Lock the file `path`; the lock lasts while its descriptor is open in any process that inherited it."""
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
    """The next trial and its lock: an interrupted one, else a new one; None if all are taken."""
    trials = study.get_trials(deepcopy=False)
    for before in trials:
        if before.state == TrialState.RUNNING and (claim := _claim(task, before.number)) is not None:
            trial = optuna.Trial(study, before._trial_id)
            search_space.draw(trial, task.space.ranges)  # missing values, if its worker was killed at once
            return trial, claim
    if len(trials) >= task.trials:
        return None
    trial = study.ask()
    search_space.draw(trial, task.space.ranges)
    claim = _claim(task, trial.number)
    if claim is None:  # held by a worker of another study in this folder
        raise ReproductionError(f"Another search uses {task.folder}; choose another folder with --study.")
    return trial, claim


def name_of(number: int) -> str:
    """Name of a trial's run folder."""
    return f"trial-{number:03d}"


# --- one trial ----------------------------------------------------------------------------------------------


def _run(study: optuna.Study, task: Task, trial: optuna.Trial, claim: int, stop: Stop, train: Train) -> int:
    """Train a trial, record its result, and return the exit code of the training."""
    run = run_folder.Run(task.folder / name_of(trial.number))
    output = task.folder / f"{name_of(trial.number)}.log"
    values = search_space.values_of(task.space.ranges, trial.params)
    options = ["--run", str(run.folder), *task.limit, "--n_seqs", "0", "--resume", *task.machine]
    code = train([*_command(task, values), *options], output, claim, stop)
    if code in INTERRUPTED:
        return code
    found = summary.result(run)
    valid = found.pop("valid")
    with _study_lock(task):
        for name, value in found.items():
            trial.set_user_attr(name, value)
        if code == 0 and valid is not None:
            study.tell(trial.number, valid)
        else:
            trial.set_user_attr("message", _failure(code, output))
            study.tell(trial.number, state=TrialState.FAIL)
        rows = _rows(study, task)
        summary.write(task.folder, rows, _facts(study, task))
    print(summary.line(trial.number, rows), flush=True)
    return code


def _command(task: Task, values: dict[str, Any]) -> list[str]:
    """The command that trains a model with these values."""
    start = ["samplernn", "train", task.space.family, "--data", str(task.data), "--preset", task.space.preset]
    return start + search_space.arguments(task.space, values)


def train_in_subprocess(command: list[str], output: Path, claim: int, stop: Stop) -> int:
    """Run `samplernn train ...` in a process of its own; see `Train`."""
    environment = os.environ | {"TQDM_DISABLE": "1"}
    with output.open("ab") as file:
        stop.child = subprocess.Popen(
            [sys.executable, "-m", "samplernn_theano", *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            pass_fds=(claim,),
            start_new_session=True,  # so that Ctrl-C does not reach it twice
        )
        stop.forward()  # a signal received just before
        code = stop.child.wait()
    stop.child = None
    return code


def _failure(code: int, output: Path) -> str:
    """The reason why a training failed, in one sentence."""
    if code < 0:
        return f"Killed by {signal.Signals(-code).name}, perhaps out of memory; see {output.name}."
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    last = (text.strip().splitlines() or [""])[-1].strip()
    if code == 0:
        return f"It ended before its first evaluation on the validation set; see {output.name}."
    if last.startswith("samplernn: "):
        return last.removeprefix("samplernn: ")
    return f"Exit code {code}: {last or 'no output'}; see {output.name}."


# --- tables -------------------------------------------------------------------------------------------------


def _rows(study: optuna.Study, task: Task) -> list[Row]:
    """All trials: finished ones, the best first, then running, interrupted and failed ones."""
    rows = [_row(trial, task) for trial in study.get_trials(deepcopy=False)]
    order = ["done", "running", "interrupted", "failed"]
    return sorted(rows, key=lambda row: (order.index(row.state), row.valid or 0.0, row.number))


def _row(trial: FrozenTrial, task: Task) -> Row:
    values = search_space.values_of(task.space.ranges, trial.params)
    command = [
        *_command(task, values),
        "--run",
        f"runs/{task.folder.absolute().name}-{name_of(trial.number)}",
    ]
    return Row(
        number=trial.number,
        state=_state(trial, task),
        valid=trial.value if trial.state == TrialState.COMPLETE else None,
        drawn=trial.params,
        values=values,
        attributes=trial.user_attrs,
        command=shlex.join(command),
    )


def _state(trial: FrozenTrial, task: Task) -> str:
    if trial.state != TrialState.RUNNING:
        return "done" if trial.state == TrialState.COMPLETE else "failed"
    if (claim := _claim(task, trial.number)) is None:
        return "running"
    os.close(claim)
    return "interrupted"


def _facts(study: optuna.Study, task: Task) -> summary.Facts:
    fixed = [part for name, value in task.space.fixed.items() for part in (search_space.flag(name), value)]
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
