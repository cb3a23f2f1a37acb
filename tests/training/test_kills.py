"""A run that is killed before any of its operations on files ends as an uninterrupted one."""

import itertools
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends import backend_agg  # noqa: F401 - so that forks need not import it

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.config.hyperparameters import FAMILIES, RealValued
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
from tests.training.conftest import Killed, assert_same, evaluations, small

SCHEDULE = Schedule(max_iters=5, monitor_iters=2, keep=2, save_minutes=1e-9)  # every step saves


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


class Forks:
    """Start processes of one run as forks of this process, which compiles once and must have no threads.

    If `operation` is not 0, a process gets a signal just before its operation on files with this number.
    """

    def __init__(self, family: str, backend: str, data: Path, number: int) -> None:
        self.hp, self.backend, self.data, self.number = small(family), backend, data, number
        if isinstance(self.hp, RealValued):
            mean, std = statistics(load_split(data, "train"))
            self.hp = replace(self.hp, mean=mean, std=std)
        trainer = compile_trainer(self.hp, backend=backend)
        run_module.compile_trainer = lambda *_, **__: trainer  # each fork has a copy with the initial values

    def run(self, folder: Path, operation: int = 0) -> int:
        """Start or resume the run; return the exit code."""
        fork = multiprocessing.get_context("fork").Process(target=self._run, args=(folder, operation))
        fork.start()
        fork.join()
        text = folder.with_suffix(".txt").read_text()[-5000:]
        assert fork.exitcode in (0, -self.number, 128 + self.number), text
        return fork.exitcode

    def _run(self, folder: Path, operation: int) -> None:
        sys.stdout = sys.stderr = folder.with_suffix(".txt").open("a", buffering=1)
        if operation:
            kill_before(operation, folder, self.number)
        if run_folder.Run(folder).last.exists():
            sys.exit(resume(folder, catch_signals=True))
        exp = "x" if self.hp.family in RESULTS else None
        options = Options(backend=self.backend)
        sys.exit(train(self.hp, self.data, folder, SCHEDULE, options, exp=exp, catch_signals=True))


def kill_before(number: int, folder: Path, signal_number: int = signal.SIGKILL) -> None:
    """Kill this process just before its operation `number` on a file in `folder`."""
    operations = itertools.count(1)
    events = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"}

    def hook(event: str, arguments: tuple) -> None:
        if event in events and (event != "open" or str(arguments[0]).startswith(str(folder))):
            if next(operations) == number:
                os.kill(os.getpid(), signal_number)

    sys.addaudithook(hook)


def kill_everywhere(
    family: str,
    backend: str,
    data: Path,
    folder: Path,
    operations: Iterable[int],
    number: int = signal.SIGKILL,
) -> int:
    """Kill a run before each of its `operations` on files, and once more when it resumes; count the kills."""
    forks, rng, kills = Forks(family, backend, data, number), random.Random(0), 0
    assert forks.run(folder / "whole") == 0
    for operation in operations:
        killed = folder / f"before{operation}"
        if forks.run(killed, operation) == 0 and number == signal.SIGKILL:  # it has no more operations
            break
        kills += 1 + (forks.run(killed, rng.randrange(1, 100)) != 0)
        forks.run(killed)
        assert_same_run(folder / "whole", killed)
        shutil.rmtree(killed)
    return kills


def in_a_new_process(monkeypatch, function: Callable, *arguments: object) -> int:
    """Call it in a process without threads and JAX, which may fork."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="the backend c needs g++")


@pytest.fixture
def short_data(tmp_path: Path) -> Path:
    """Clips of which three iterations are an epoch."""
    for split in ("train", "valid", "test"):
        clips = np.random.default_rng(0).uniform(-1, 1, (4, 300)).astype(np.float16)
        np.save(tmp_path / f"x_{split}.npy", clips)
    return tmp_path


@needs_compiler
def test_a_killed_run_ends_as_an_uninterrupted_one(short_data, tmp_path, monkeypatch):
    arguments = ("one_tier", "c", short_data, tmp_path, range(9, 1000, 29))
    assert in_a_new_process(monkeypatch, kill_everywhere, *arguments) > 5


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "backend", "step"),
    [("one_tier", "c", 1), ("one_tier", "numba", 7), *((f, "c", 7) for f in FAMILIES if f != "one_tier")],
)
def test_a_run_that_is_killed_before_any_operation_on_files(
    data, tmp_path, monkeypatch, family, backend, step
):
    arguments = (family, backend, data, tmp_path, range(1, 10_000, step))
    print(family, backend, in_a_new_process(monkeypatch, kill_everywhere, *arguments), "kills")


@needs_compiler
@pytest.mark.slow
def test_a_signal_at_any_moment(data, tmp_path, monkeypatch):
    arguments = ("one_tier", "c", data, tmp_path, range(1, 150, 6), signal.SIGTERM)
    in_a_new_process(monkeypatch, kill_everywhere, *arguments)


# --- what kills have found ----------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_was_killed_while_its_folder_was_made_is_started_again(tmp_path, monkeypatch, overwrite):
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
    run, names = run_folder.Run(tmp_path), [f"i{iteration}_v5.0000.npz" for iteration in (14, 7, 35, 21, 28)]
    folder = run.last.parent
    for order in (names, names[::-1]):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).touch()
        monkeypatch.setattr(Path, "glob", lambda *_, order=order: [folder / name for name in order])
        run_folder.prune(run, 1)
        assert set(os.listdir(folder)) == {"i7_v5.0000.npz", "i35_v5.0000.npz"}
