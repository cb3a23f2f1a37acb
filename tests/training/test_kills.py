"""A run that is killed again and again, at any moment, ends as an uninterrupted one."""

import itertools
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters, RealValued
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.config.settings import Options
from samplernn_theano.data.dataset import load_split, statistics
from samplernn_theano.errors import OutputError
from samplernn_theano.original import pickles, results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.original.tags import RESULTS
from samplernn_theano.training import run as run_module
from samplernn_theano.training.run import resume, train
from samplernn_theano.training.step import compile_trainer
from tests.training.test_resume import SMALL, assert_same, evaluations, small

# An epoch has 16 to 32 iterations. Every step saves.
SCHEDULE = Schedule(max_iters=45, monitor_iters=7, keep=2, save_minutes=1e-9)

type TrainingProcess = subprocess.Popen | BaseProcess
"""A training process."""


# --- the same run -------------------------------------------------------------------------------------------


def listed(folder: Path) -> dict[str, Path]:
    """The files of a run by their names, without the time in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {re.sub(r"_t\d+\.\d\d_", "_t_", str(path.relative_to(folder))): path for path in files}


def assert_same_run(whole: Path, killed: Path) -> None:
    """The two folders have the same contents, except times and plots."""
    assert_same(whole, killed)
    assert evaluations(whole) == evaluations(killed)
    one, two = listed(whole), listed(killed)
    assert one.keys() == two.keys()
    for name in one:
        if name.endswith(".npz"):
            first, second = npz.load(one[name]), npz.load(two[name])
            assert first.progress["iteration"] == second.progress["iteration"], name
            for group in ("parameters", "adam", "states"):
                assert_same_arrays(getattr(first, group), getattr(second, group))
        elif name.startswith("params/"):
            assert_same_arrays(pickles.read(one[name]), pickles.read(two[name]))
    if ResultTree(whole).log.exists():
        first, second = (results_folder.read_log(ResultTree(folder)) for folder in (whole, killed))
        assert first.keys() == second.keys()
        assert all(first[key] == second[key] for key in first if "time" not in key)
    log = run_folder.read_log(run_folder.Run(killed))
    trained = [record["iteration"] for record in log if record["event"] == "train"]
    assert trained == sorted(set(trained))  # nothing is logged twice
    assert [record["event"] for record in log].count("end") == 1


def assert_same_arrays(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


# --- killing ------------------------------------------------------------------------------------------------


def exit_code(process: TrainingProcess) -> int | None:
    """Exit code, None while it runs."""
    return process.poll() if isinstance(process, subprocess.Popen) else process.exitcode


def being_written(folder: Path) -> list[str]:
    """Files that are being written now: last.npz, i*.npz, params*.pkl, ..."""
    names = [path.name for sub in ("", "checkpoints", "params") for path in (folder / sub).glob(".*.part.*")]
    return [re.sub(r"^\.([a-z]+)(_log)?.*\.part", r"\1\2*", name) for name in names]


def iteration_of(folder: Path) -> int:
    last = run_folder.Run(folder).last
    return npz.load(last).progress["iteration"] if last.exists() else -1


def kill_some_time(process: TrainingProcess, folder: Path, rng: random.Random, number: int) -> None:
    """Kill a process at a random moment: at its start, or after some steps; often while it writes a file."""
    last, saves = run_folder.Run(folder).last, rng.randrange(5)

    def saved() -> int:
        return last.stat().st_mtime_ns if last.exists() else 0

    for _ in range(saves):
        before = saved()
        while exit_code(process) is None and saved() == before:
            time.sleep(0.0005)
    time.sleep(rng.uniform(0, 0.3))  # about the duration of an evaluation; a step is much shorter
    if rng.random() < 0.6:
        while exit_code(process) is None and not being_written(folder):
            pass
        time.sleep(rng.choice((0, rng.uniform(0, 0.003))))
    if exit_code(process) is None:
        os.kill(process.pid, number)


def train_to_the_end(
    start: Callable[[Path], TrainingProcess],
    folder: Path,
    kills: int,
    rng: random.Random,
    number: int = signal.SIGKILL,
) -> Counter:
    """Train to the end in as many processes as it takes, `kills` of which are killed; count where."""
    counts: Counter = Counter()
    codes = {-number} if number == signal.SIGKILL else {-number, 128 + number}
    while True:
        before, process = iteration_of(folder), start(folder)
        if counts["kills"] < kills:
            kill_some_time(process, folder, rng, number)
        while exit_code(process) is None:
            time.sleep(0.001)
        if exit_code(process) == 0:
            return counts
        assert exit_code(process) in codes and counts["kills"] < kills, output(folder)
        counts += where_it_was_killed(folder, before)


def where_it_was_killed(folder: Path, before: int) -> Counter:
    """Counts for a killed process; `before`: iteration of the last checkpoint when it started."""
    run, after = run_folder.Run(folder), iteration_of(folder)
    counts = Counter(f"  {name}" for name in being_written(folder))
    return counts + Counter(
        {
            "kills": 1,
            "while a file was written": bool(counts),
            "before the first checkpoint": after < 0,
            "with an evaluation due": after >= 0 and npz.load(run.last).progress["eval_due"],
            "without progress": after == before,
            "last line of the log cut": run.log.exists() and run.log.read_bytes()[-1:] not in (b"", b"\n"),
        }
    )


def output(folder: Path) -> str:
    """Output of all processes of a run."""
    return folder.with_suffix(".txt").read_text()[-5000:]


def kill_again_and_again(
    start: Callable[[Path], TrainingProcess],
    folder: Path,
    kills: int,
    per_run: int,
    number: int = signal.SIGKILL,
) -> Counter:
    """Compare runs with `per_run` kills with one without, until there were `kills`; count where."""
    rng, counts = random.Random(kills), Counter()
    train_to_the_end(start, folder / "whole", 0, rng)
    while counts["kills"] < kills:
        killed = folder / f"run{counts['runs']}"
        counts += train_to_the_end(start, killed, min(per_run, kills - counts["kills"]), rng, number)
        counts["runs"] += 1
        assert_same_run(folder / "whole", killed)
        shutil.rmtree(killed)
    return counts


# --- forks of a process that has compiled the model ---------------------------------------------------------


def complete(hp: HyperParameters, data: Path) -> HyperParameters:
    """Add the statistics of the clips."""
    if not isinstance(hp, RealValued):
        return hp
    mean, std = statistics(load_split(data, "train"))
    return replace(hp, mean=mean, std=std)


class Forks:
    """Start processes of one run as forks of this process, which compiles once and must have no threads.

    Attributes
    ----------
    operation : int
        If not 0, a process is killed just before its operation on files with this number.
    """

    def __init__(self, family: str, backend: str, data: Path, schedule: Schedule) -> None:
        self.hp = complete(small(family), data)
        self.backend, self.data, self.schedule = backend, data, schedule
        self.exp = "x" if family in RESULTS else None
        self.operation = 0
        trainer = compile_trainer(self.hp, backend=backend)
        run_module.compile_trainer = lambda *_, **__: trainer  # each fork has a copy with the initial values

    def __call__(self, run: Path) -> BaseProcess:
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(run,))
        process.start()
        return process

    def _run(self, run: Path) -> None:
        sys.stdout = sys.stderr = run.with_suffix(".txt").open("a", buffering=1)
        if self.operation:
            kill_before(self.operation, run)
        if run_folder.Run(run).last.exists():
            code = resume(run, catch_signals=True)
        else:
            options = Options(backend=self.backend)
            code = train(self.hp, self.data, run, self.schedule, options, exp=self.exp, catch_signals=True)
        sys.exit(code)


def kill_before(number: int, folder: Path) -> None:
    """Kill this process just before its operation `number` on a file in `folder`."""
    operations = itertools.count(1)
    events = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"}

    def hook(event: str, arguments: tuple) -> None:
        if event in events and (event != "open" or str(arguments[0]).startswith(str(folder))):
            if next(operations) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def kill_forks(
    family: str,
    backend: str,
    data: Path,
    folder: Path,
    schedule: Schedule,
    kills: int,
    per_run: int,
    number: int = signal.SIGKILL,
) -> Counter:
    """As `kill_again_and_again`, with forks."""
    return kill_again_and_again(Forks(family, backend, data, schedule), folder, kills, per_run, number)


def kill_everywhere(family: str, backend: str, data: Path, folder: Path) -> Counter:
    """Kill a short run before each of its operations on files in turn, and once more when it resumes."""
    start = Forks(family, backend, data, replace(SCHEDULE, max_iters=5, monitor_iters=2))
    rng, counts = random.Random(0), Counter()
    train_to_the_end(start, folder / "whole", 0, rng)
    for operation in itertools.count(1):
        killed = folder / f"before{operation}"
        for start.operation in (operation, rng.randrange(1, 100), 0):
            before, process = iteration_of(killed), start(killed)
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL, output(killed)
            counts += where_it_was_killed(killed, before)
        assert_same_run(folder / "whole", killed)
        if start.operation == operation:  # it ended before that operation
            break
        shutil.rmtree(killed)
    return counts


def in_a_new_process(monkeypatch, function: Callable, *arguments: object) -> Counter:
    """Call it in a process without threads and JAX, which may fork."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


# --- the command line ---------------------------------------------------------------------------------------


def kill_processes(family: str, backend: str, data: Path, folder: Path, kills: int, per_run: int) -> Counter:
    """As `kill_again_and_again`, with the command line."""
    hp, layout = small(family), ["--original-layout", "--exp=x"] if family in RESULTS else []
    changed = [f"--{name}={getattr(hp, name)}" for name in SMALL if hasattr(hp, name)]
    limits = ["--max-iters=45", "--monitor-iters=7", "--keep=2", "--save-minutes=1e-9", "--n_seqs=0"]
    arguments = [f"--data={data}", "--preset=tiny", f"--backend={backend}", *changed, *limits, *layout]

    def start(run: Path) -> subprocess.Popen:
        words = (
            ["resume", run]
            if run_folder.Run(run).last.exists()
            else ["train", family, f"--run={run}", *arguments]
        )
        with run.with_suffix(".txt").open("a") as output_file:
            command = [sys.executable, "-m", "samplernn_theano", *words]
            return subprocess.Popen(command, stdout=output_file, stderr=output_file)

    return kill_again_and_again(start, folder, kills, per_run)


# --- tests --------------------------------------------------------------------------------------------------

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="the backend c needs g++")


@needs_compiler
def test_a_run_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(data, tmp_path, monkeypatch):
    schedule = replace(SCHEDULE, monitor_iters=15)
    counts = in_a_new_process(monkeypatch, kill_forks, "one_tier", "c", data, tmp_path, schedule, 8, 8)
    assert counts["kills"] == 8 and counts["while a file was written"]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "backend"),
    [*((family, "c") for family in FAMILIES), ("one_tier", "numba"), ("two_tier", "numba")],
)
def test_every_family_survives(data, tmp_path, monkeypatch, family, backend):
    counts = in_a_new_process(monkeypatch, kill_forks, family, backend, data, tmp_path, SCHEDULE, 24, 12)
    print(family, backend, dict(counts))


@needs_compiler
@pytest.mark.slow
def test_a_signal_at_any_moment(data, tmp_path, monkeypatch):
    arguments = ("one_tier", "c", data, tmp_path, SCHEDULE, 10, 1, signal.SIGTERM)
    print("SIGTERM", dict(in_a_new_process(monkeypatch, kill_forks, *arguments)))


@needs_compiler
@pytest.mark.slow
def test_a_run_that_is_killed_before_any_operation_on_files(data, tmp_path, monkeypatch):
    counts = in_a_new_process(monkeypatch, kill_everywhere, "one_tier", "c", data, tmp_path)
    print(dict(counts))
    assert counts["before the first checkpoint"] and counts["with an evaluation due"]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_line_survives(data, tmp_path, family):
    print(family, "jax", dict(kill_processes(family, "jax", data, tmp_path, 6, 6)))


# --- what the kills have found ------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_was_killed_while_its_folder_was_made_is_started_again(tmp_path, monkeypatch, overwrite):
    class Killed(BaseException):
        pass

    def killed(path, _):
        path.with_name(".settings.7.part.json").write_text('{"se')
        raise Killed

    folder = tmp_path / "run"
    if overwrite:
        run = run_folder.create(folder, {"seed": 1})
        run.last.parent.mkdir()
        run.last.write_text("old")
    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(run_folder, "write_text", killed)
        run_folder.create(folder, {"seed": 2}, overwrite)
    run_folder.create(folder, {"seed": 2})
    assert listed(folder).keys() == {"log.jsonl", "settings.json"}


def test_results_of_the_original_that_were_being_imported_are_not_overwritten(tmp_path):
    (tmp_path / "params").mkdir()
    for name in ("train_log.pkl", "params/params_e0_i40_t0.00_tr5.2051_v5.1320_best.pkl", "log.jsonl"):
        (tmp_path / name).write_text("theirs")
    before = listed(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="holds other files"):
            run_folder.create(tmp_path, {}, overwrite)
    assert listed(tmp_path) == before


def test_of_evaluations_with_equal_costs_the_earliest_is_kept(tmp_path, monkeypatch):
    """In whatever order the file system lists them, which rewriting a file may change."""
    names = [f"i{iteration}_v5.0000.npz" for iteration in (14, 7, 35, 21, 28)]
    folder, run = tmp_path / "checkpoints", run_folder.Run(tmp_path)
    monkeypatch.setattr(
        Path, "glob", lambda *_: [folder / name for name in names if (folder / name).exists()]
    )
    for order in (names[:], names[::-1]):
        names[:] = order
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        run_folder.prune(run, 1)
        assert {path.name for path in folder.iterdir()} == {"i7_v5.0000.npz", "i35_v5.0000.npz"}
        shutil.rmtree(folder)
