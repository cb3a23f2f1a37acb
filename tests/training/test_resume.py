"""An interrupted run resumes as if it had never been interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    HyperParameterError,
    OutputError,
)
from samplernn_theano.original import layout, results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training import hooks, loop
from samplernn_theano.training.run import resume, train
from samplernn_theano.utils import plotting
from samplernn_theano.utils.files import locked
from tests.training.conftest import Killed, assert_same, evaluations, listed, log, small, state

SCHEDULE = Schedule(max_iters=45, monitor_iters=1000)  # an epoch has 32 iterations


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(small("one_tier"), data, folder, SCHEDULE) == 0
    return folder


@pytest.fixture(scope="module")
def stopped_once(data, tmp_path_factory) -> Path:
    """The same run, ended after the first epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train(small("one_tier"), data, folder, replace(SCHEDULE, max_iters=32))
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped_once, tmp_path / "stopped"))


def assert_same_training(one: Path, two: Path) -> None:
    """The same but for evaluations: a run has another one at its end."""
    assert_same(one, two, ("best_valid", "best_test", "best_iteration", "evals_without_improvement"))


# at 7, 14, 21, 28, 33 (new epoch), 35, ...
MANY_EVALUATIONS = Schedule(max_iters=45, monitor_iters=7, keep=2)


@pytest.fixture(scope="module")
def evaluated(data, tmp_path_factory) -> Path:
    """An uninterrupted run with many evaluations."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    assert train(small("one_tier"), data, folder, MANY_EVALUATIONS, exp="x") == 0
    return folder


@pytest.mark.parametrize(
    ("where", "at"),
    [
        ("evaluation", 1),
        ("write_evaluation", 3),
        ("write_evaluation", 8),
        ("save_checkpoint", 3),  # after the first evaluation; one is written before each
        ("save_checkpoint", 17),
        ("prune", 8),
        ("learning_curve", 2),
    ],
)
def test_an_interrupted_evaluation_is_repeated(evaluated, data, tmp_path, monkeypatch, where, at):
    owner, name = {
        "evaluation": (hooks, "evaluate_split"),
        "write_evaluation": (layout, "write_evaluation"),
        "save_checkpoint": (hooks, "save_checkpoint"),
        "learning_curve": (plotting, "learning_curve"),
        "prune": (run_folder, "prune"),
    }[where]
    real, calls = getattr(owner, name), []

    def killed(*arguments):
        calls.append(name)
        if len(calls) == at:
            raise Killed
        return real(*arguments)

    folder = tmp_path / "cut"
    with monkeypatch.context() as context:
        context.setattr(owner, name, killed)
        with pytest.raises(Killed):
            train(small("one_tier"), data, folder, MANY_EVALUATIONS, exp="x")
    assert resume(folder) == 0
    assert_same(evaluated, folder)
    assert evaluations(evaluated) == evaluations(folder)
    assert listed(evaluated) == listed(folder)
    logs = [results_folder.read_log(ResultTree(f)) for f in (evaluated, folder)]
    for key in logs[0]:
        assert "time" in key or logs[0][key] == logs[1][key]
    best = [npz.load(run_folder.Run(f).best).progress["iteration"] for f in (evaluated, folder)]
    assert best[0] == best[1]


def test_keep_limits_the_checkpoints(evaluated):
    names = {path.stem for path in run_folder.Run(evaluated).last.parent.iterdir()} - {"last", "best"}
    records = evaluations(evaluated)
    latest, best = records[-2:], sorted(records, key=lambda record: record["valid"])[:2]
    assert names == {f"i{record['iteration']}_v{record['valid']:.4f}" for record in latest + best}
    for name in names:
        checkpoint = npz.load(evaluated / "checkpoints" / f"{name}.npz")
        assert checkpoint.progress["iteration"] == int(name[1:].split("_")[0])


def test_a_signal_before_an_evaluation_leaves_it_due(evaluated, data, tmp_path, monkeypatch):
    folder, real = tmp_path / "cut", loop.train_step

    def step(t, batch):
        real(t, batch)
        if t.progress.iteration == 33:  # an evaluation is due: a new epoch has begun
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as context:
        context.setattr(loop, "train_step", step)
        assert train(small("one_tier"), data, folder, MANY_EVALUATIONS, exp="x", catch_signals=True) == 143
    assert log(folder)[-1]["why"] == "SIGTERM"
    assert npz.load(run_folder.Run(folder).last).progress["eval_due"]
    assert resume(folder) == 0
    assert_same(evaluated, folder)
    assert evaluations(evaluated) == evaluations(folder)


def test_a_run_that_ran_out_of_time_resumes(evaluated, data, tmp_path):
    folder, code = tmp_path / "slices", loop.OUT_OF_TIME
    assert train(small("one_tier"), data, folder, MANY_EVALUATIONS, max_seconds=0.4, exp="x") == code
    assert log(folder)[-1]["why"] == "--max-time"
    slices = 1
    while code == loop.OUT_OF_TIME:
        code = resume(folder, max_seconds=0.4)
        slices += 1
    assert code == 0 and slices > 2
    assert_same(evaluated, folder)
    assert evaluations(evaluated) == evaluations(folder)


def test_early_stopping(data, tmp_path, monkeypatch, capsys):
    # At 5, 4 and 1 the test split is evaluated too.
    costs = iter([5.0, 9.0, 4.0, 9.0, 4.5, 4.25, 4.125, 1.0, 9.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(hooks, "evaluate_split", lambda *_: next(costs))
    schedule = Schedule(max_iters=30, monitor_iters=2, patience=3)
    assert train(small("one_tier"), data, tmp_path / "run", schedule) == 0
    checkpoint = npz.load(run_folder.Run(tmp_path / "run").last)
    assert checkpoint.progress["iteration"] == 10 and checkpoint.progress["best_iteration"] == 4
    command = ["train", "one_tier", "--preset", "tiny", "--dim", "16", "--data", str(data), "--resume"]
    command += ["--run", str(tmp_path / "run"), "--max-iters", "30"]
    for again in (["resume", str(tmp_path / "run")], command):  # at its end, also by the same command
        assert main(again) == 0
        assert npz.load(run_folder.Run(tmp_path / "run").last).progress["iteration"] == 10
        out = capsys.readouterr().out
        assert "has ended, at iteration 10 after 3 evaluations without improvement; to train on, give" in out
        assert f"samplernn resume {tmp_path}/run --max-iters 20, or a larger --patience." in out
    # As the message says.
    assert main(["resume", str(tmp_path / "run"), "--max-iters", "20"]) == 0
    assert "counted again" in capsys.readouterr().err
    for _ in range(2):  # the same limit again is not another one
        progress = npz.load(run_folder.Run(tmp_path / "run").last).progress
        assert (progress["iteration"], progress["best_iteration"]) == (18, 12)
        assert main(["resume", str(tmp_path / "run"), "--max-iters", "20"]) == 0
        assert "has ended, at iteration 18 after 3 evaluations" in capsys.readouterr().out


@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_data_that_vanish_while_they_are_read(whole, data, tmp_path, monkeypatch, harm):
    """A checkpoint is saved, and the run resumes when they are back."""
    own = Path(shutil.copytree(data, tmp_path / "own"))
    path, real = own / "x_train.npy", loop.train_step
    content = path.read_bytes()

    def step(t, batch):
        real(t, batch)
        if t.progress.iteration == 3 and harm == "removed":
            path.unlink()
        elif t.progress.iteration == 3:
            os.truncate(path, 1000)

    folder = tmp_path / "run"
    with monkeypatch.context() as context:
        context.setattr(loop, "train_step", step)
        with pytest.raises(DataError, match="x_train.npy (was removed|was cut short) .* samplernn resume"):
            train(small("one_tier"), own, folder, SCHEDULE)
    assert npz.load(run_folder.Run(folder).last).progress["iteration"] >= 3
    path.write_bytes(content)
    assert resume(folder) == 0
    assert_same(whole, folder)


def test_exploded_gradients_keep_the_last_checkpoint(data, tmp_path, monkeypatch):
    """A parameter that is not a number makes the next cost so."""
    real = loop.train_step

    def step(t, batch):
        real(t, batch)
        if t.progress.iteration == 5:
            name = "SampleLevel.L2.b"
            t.trainer.graph.parameters.assign({name: np.full(16, np.nan)})

    monkeypatch.setattr(loop, "train_step", step)
    run = run_folder.Run(tmp_path / "run")
    with pytest.raises(DivergedError, match="became nan after 5 updates: the gradients have exploded.*last"):
        train(small("one_tier"), data, run.folder, replace(SCHEDULE, save_minutes=1e6))
    assert np.isfinite(npz.load(run.last).parameters["SampleLevel.L2.b"]).all()


def test_a_second_ctrl_c_kills_at_once():
    """The first signal waits for the end of the step, here of a call that does not return; so do others."""
    script = """
import os, signal
from samplernn_theano.utils import signal_handling
with signal_handling.handle_signals(lambda _: None):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("too late", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "still here\n")


def test_a_resumed_run_ends_as_an_uninterrupted_one(data, whole, stopped, tmp_path):
    """Even if the data set was moved, and something was logged after the last checkpoint."""
    run = run_folder.Run(stopped)
    with run.log.open("a") as file:
        file.write(json.dumps({"event": "train", "iteration": 99, "nll_bits": 1.0}) + "\n")
    assert resume(stopped, {"max_iters": 45}, shutil.copytree(data, tmp_path / "moved")) == 0
    assert_same_training(whole, stopped)
    assert [record["iteration"] for record in log(stopped, "resume")] == [32]
    iterations = [record["iteration"] for record in log(stopped, "train")]
    assert iterations == sorted(set(iterations)) and iterations[-1] == 45


def test_a_resumed_run_may_change_its_learning_rate(stopped, capsys):
    before = state(stopped)
    assert main(["resume", str(stopped), "--max-iters", "34", "--learning-rate", "1e-9"]) == 0
    assert "Changed: learning rate; results are not bit for bit" in capsys.readouterr().err
    settings = npz.load(run_folder.Run(stopped).last).settings
    assert settings == json.loads(run_folder.Run(stopped).settings.read_text())
    assert settings["schedule"]["learning_rate"] == 1e-9 and "learning_rate" not in settings
    after = state(stopped)
    moved = {name: np.abs(after[name] - before[name]).max() for name in before if name.startswith("Samp")}
    assert 0 < max(moved.values()) < 1e-6
    assert np.abs(after["adam.m.SampleLevel.L2.b"] - before["adam.m.SampleLevel.L2.b"]).max() > 1e-6
    assert resume(stopped, {"max_iters": 35}) == 0  # it keeps the new one
    assert "Changed" not in capsys.readouterr().err
    with pytest.raises(HyperParameterError, match="--learning-rate is 0"):
        resume(stopped, {"learning_rate": 0})
    with pytest.raises(HyperParameterError, match="has no seed; choose from max_iters, "):
        resume(stopped, {"seed": 5})


def test_a_second_learning_rate(data, stopped, tmp_path, capsys):
    """It holds from its iteration on, also in a resumed run, and needs no other program."""
    two = replace(SCHEDULE, later_rate=1e-4, later_from=32)
    train(small("one_tier"), data, tmp_path / "whole", two)
    assert "is never reached" not in capsys.readouterr().err
    train(small("one_tier"), data, tmp_path / "parts", replace(two, max_iters=20))
    line = "--later-rate 0.0001 is never reached: --later-from 32 is not below --max-iters 20."
    assert line in capsys.readouterr().err
    for limit in (32, 36, 45):
        assert resume(tmp_path / "parts", {"max_iters": limit}) == 0
    assert_same_training(tmp_path / "whole", tmp_path / "parts")
    capsys.readouterr()
    resume(stopped, {"learning_rate": 1e-4, "max_iters": 45})
    assert "Changed: learning rate;" in capsys.readouterr().err
    assert_same_training(tmp_path / "whole", stopped)


def test_a_second_learning_rate_is_stored_and_shown(stopped, capsys):
    command = ["resume", str(stopped), "--max-iters", "34", "--later-rate", "1e-9"]
    assert main(command) == 2
    assert "--later-rate needs --later-from: " in capsys.readouterr().err
    assert main([*command, "--later-from", "33"]) == 0
    assert "Changed" not in capsys.readouterr().err  # the iterations so far are those of such a run
    schedule = json.loads(run_folder.Run(stopped).settings.read_text())["schedule"]
    for record in (schedule, log(stopped, "resume")[-1]):
        rates = [record[name] for name in ("learning_rate", "later_rate", "later_from")]
        assert rates == [0.001, 1e-9, 33]
    for command in ("show", "inspect"):
        assert main([command, str(stopped)]) == 0
        assert "0.001, 1e-09 after 33 iterations" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_resumes(data, tmp_path, family):
    hp = small(family)
    passes = -(-2000 // hp.seq_len) * 2
    end = passes + 9
    train(hp, data, tmp_path / "whole", replace(SCHEDULE, max_iters=end))
    train(hp, data, tmp_path / "parts", replace(SCHEDULE, max_iters=5))
    for limit in (passes, passes + 1, end):  # the end of the epoch, the evaluation after it
        assert resume(tmp_path / "parts", {"max_iters": limit}) == 0
    assert_same_training(tmp_path / "whole", tmp_path / "parts")


def test_what_cannot_be_resumed(stopped, data, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere is not the folder of a run"):
        resume(tmp_path / "nowhere")
    with locked(stopped), pytest.raises(OutputError, match="Another process works in"):
        resume(stopped)
    other = Path(shutil.copytree(data, tmp_path / "other"))
    clips = np.load(other / "x_valid.npy")
    clips[0, 0] += 0.25
    np.save(other / "x_valid.npy", clips)
    with pytest.raises(DataError, match="valid split .* is not the one .* --data"):
        resume(stopped, {}, other)
    last = run_folder.Run(stopped).last
    checkpoint = npz.load(last)
    npz.save(last, replace(checkpoint, progress={**checkpoint.progress, "novelty": 1}))
    with pytest.raises(CheckpointError, match="written by another version .*novelty"):
        resume(stopped)
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        resume(stopped)


def test_a_run_that_has_ended_says_so_at_once(data, tmp_path, capsys):
    folder = tmp_path / "run"
    train(small("one_tier"), data, folder, replace(SCHEDULE, max_iters=2))
    capsys.readouterr()
    assert resume(folder) == 0
    output = capsys.readouterr()
    assert "has ended, at iteration 2; to train on, give another limit, such as" in output.out
    assert "Compiling" not in output.err
    assert len(log(folder, "end")) == 1


def test_a_run_resumes_without_its_log_and_settings(stopped, data):
    run = run_folder.Run(stopped)
    run.log.unlink()
    run.settings.unlink()
    assert resume(stopped, {"max_iters": 34}) == 0
    assert json.loads(run.settings.read_text())["schedule"]["max_iters"] == 34
    assert log(stopped)[-1]["iteration"] == 34


def test_the_best_checkpoint_is_named_where_the_last_is_lost(stopped):
    run = run_folder.Run(stopped)
    run.last.unlink()
    with pytest.raises(
        CheckpointError, match="no checkpoint .*last.npz. To resume from the best .*copy .*best"
    ):
        resume(stopped)
