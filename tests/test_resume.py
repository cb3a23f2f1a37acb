"""A run that was stopped goes on as if nothing had happened."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano import checkpoints, runs, training
from samplernn_theano.errors import CheckpointError, DataError, OutputError
from samplernn_theano.files import locked
from samplernn_theano.hyperparameters import FAMILIES
from samplernn_theano.presets import preset
from samplernn_theano.schedule import Schedule

SCHEDULE = Schedule(max_iters=45, monitor_iters=1000)  # an epoch has 32 iterations
SMALL = {"dim": 16, "batch_size": 4}


def small(family: str):
    given = {name: value for name, value in SMALL.items() if name in FAMILIES[family].__dataclass_fields__}
    return preset(family, "tiny", given)


def state(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the last checkpoint, and where it stands."""
    checkpoint = checkpoints.load(runs.Run(folder).last)
    arrays = {**checkpoint.parameters, **checkpoint.adam}
    arrays |= {f"state {name}": array for name, array in checkpoint.states.items()}
    stands = {name: value for name, value in checkpoint.progress.items() if "seconds" not in name}
    return arrays | {name: np.array(value, object) for name, value in stands.items()}


def assert_same(one: Path, two: Path) -> None:
    first, second = state(one), state(two)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """8 / 4 / 4 clips of 1,000 samples of noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, n in (("train", 8), ("valid", 4), ("test", 4)):
        np.save(folder / f"x_{split}.npy", rng.uniform(-1, 1, (n, 2000)).astype(np.float16))
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """A run that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert training.train(small("one_tier"), data, folder, SCHEDULE) == 0
    return folder


@pytest.fixture(scope="module")
def stopped_once(data, tmp_path_factory) -> Path:
    """The same run, stopped at the end of the first epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    training.train(small("one_tier"), data, folder, replace(SCHEDULE, max_iters=32))
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path) -> Path:
    """A copy of that."""
    return Path(shutil.copytree(stopped_once, tmp_path / "stopped"))


LOOKS = ("best_valid", "best_test", "best_iteration", "last_monitor_iteration", "cost_sum", "cost_count")


def assert_same_training(one: Path, two: Path) -> None:
    """All but the looks: a run that ends looks once more."""
    first, second = state(one), state(two)
    assert first.keys() == second.keys()
    for name in first.keys() - set(LOOKS):
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(data, whole, stopped, tmp_path):
    """Also if the data set was moved, and something was logged after the last checkpoint."""
    run = runs.Run(stopped)
    with run.log.open("a") as log:
        log.write(json.dumps({"event": "train", "iteration": 99, "nll_bits": 1.0}) + "\n")
    assert training.resume(stopped, {"max_iters": 45}, shutil.copytree(data, tmp_path / "moved")) == 0
    assert_same_training(whole, stopped)
    log = runs.read_log(run)
    assert [record["iteration"] for record in log if record["event"] == "resume"] == [32]
    iterations = [record["iteration"] for record in log if record["event"] == "train"]
    assert iterations == sorted(set(iterations)) and iterations[-1] == 45


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_goes_on_as_if_it_had_not_been_stopped(data, tmp_path, family):
    hp = small(family)
    passes = -(-2000 // hp.seq_len) * 2
    end = passes + 9
    training.train(hp, data, tmp_path / "whole", replace(SCHEDULE, max_iters=end))
    training.train(hp, data, tmp_path / "parts", replace(SCHEDULE, max_iters=5))
    for limit in (passes, passes + 1, end):  # the end of the epoch, the look after it
        assert training.resume(tmp_path / "parts", {"max_iters": limit}) == 0
    assert_same_training(tmp_path / "whole", tmp_path / "parts")


def kill_until_done(command: list, folder: Path, kills: int, seed: int) -> None:
    """Start a run that saves at each step; so often kill it after it saved, and go on with it."""
    run, rng = runs.Run(folder), random.Random(seed)
    while True:
        seen = checkpoints.load(run.last).progress["iteration"] if run.last.exists() else 0
        words = [sys.executable, "-m", "samplernn_theano", *map(str, command)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while kills and process.poll() is None:
                if run.last.exists() and checkpoints.load(run.last).progress["iteration"] > seen:
                    time.sleep(rng.random() / 20)
                    process.kill()
                    break
                time.sleep(0.005)
            _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            return
        assert process.returncode == -signal.SIGKILL and kills, errors
        kills -= 1
        command = ["resume", folder]


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_again_and_again_ends_as_the_one_that_was_not(data, whole, tmp_path, kills):
    iterations = max(45, 2 * kills + 20)
    flags = f"--preset tiny --dim 16 --batch_size 4 --max-iters {iterations} --monitor-iters 1000 --n_seqs 0"
    command = ["train", "one_tier", "--data", data, "--run", tmp_path / "run", *flags.split()]
    kill_until_done([*command, "--save-minutes", 1e-9], tmp_path / "run", kills, seed=kills)
    if iterations != SCHEDULE.max_iters:
        whole = tmp_path / "whole"
        training.train(small("one_tier"), data, whole, replace(SCHEDULE, max_iters=iterations))
    assert_same(whole, tmp_path / "run")


def test_other_data_are_refused(stopped, data, tmp_path):
    other = Path(shutil.copytree(data, tmp_path / "other"))
    clips = np.load(other / "x_valid.npy")
    clips[0, 0] += 0.25
    np.save(other / "x_valid.npy", clips)
    with pytest.raises(DataError, match="valid split .* is not the one .* --data"):
        training.resume(stopped, {}, other)


def test_two_processes_do_not_work_in_one_run(stopped):
    with locked(stopped), pytest.raises(OutputError, match="Another process works in"):
        training.resume(stopped)


def test_what_cannot_be_resumed(stopped, tmp_path):
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        training.resume(tmp_path / "nowhere")
    last = runs.Run(stopped).last
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        training.resume(stopped)
