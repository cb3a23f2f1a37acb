"""The progress of a run: stages, and the time left with the evaluations."""

import time
from types import SimpleNamespace

import pytest

from samplernn_theano.cli.main import main
from samplernn_theano.config.schedule import Progress, Schedule
from samplernn_theano.training.run_bar import RunBar
from samplernn_theano.training.step import Due
from samplernn_theano.utils.progress import Bar


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def run(clock):
    """A run of 100 iterations with a second each, of which 20 were done before, and its bar."""
    t = SimpleNamespace(progress=Progress(10), schedule=Schedule(max_iters=100), signals=[])
    t.progress.iteration = t.progress.seconds = 20
    return t, RunBar(t, Bar("train", visible=False))


def train(run, clock, until: int, evaluation: bool = False) -> None:
    t, shown = run
    clock[0] += until - t.progress.seconds
    t.progress.iteration = t.progress.seconds = until
    t.progress.minibatch = 4.3216
    shown.step(t, Due(evaluation=evaluation))


def test_evaluations_count(run, clock):
    t, shown = run
    train(run, clock, 40)
    assert (shown.bar.done, shown.bar.left) == (40, 60)
    assert shown.bar.line() == "4.322 bits  40 %  0:01:00 left  iteration 40  0.97 it/s  epoch 0"

    train(run, clock, 60, evaluation=True)
    shown.evaluating("evaluating on valid, 1 of 2", 0.01)  # it may have compiled for minutes
    assert (shown.bar.done, shown.bar.left) == (60, 40)
    clock[0] += 3
    shown.evaluating("evaluating on valid, 1 of 2", 0.01 + 0.99 / 4)
    # 9 s for the rest of this one, 40 for training, and 12 for the evaluation at the end.
    assert shown.bar.done == 63 and shown.bar.left == pytest.approx(9 + 40 + 12)
    assert shown.bar.line().startswith("evaluating on valid, 1 of 2  51 %  0:01:01 left")
    clock[0] += 5
    shown.evaluated(t, Due(evaluation=True))

    train(run, clock, 80)
    # Training took 60 s here and the evaluation 8: the rest takes so much longer, and 8 at the end.
    assert shown.bar.done == 88 and shown.bar.left == pytest.approx(20 * (1 + 8 / 60) + 8)

    train(run, clock, 100, evaluation=True)
    clock[0] += 2
    shown.evaluating("evaluating on test, 2 of 2", 0.5)
    assert (shown.bar.done, shown.bar.left) == (110, 6)  # as long as the one before
    clock[0] += 1
    t.signals.append(2)  # Ctrl-C
    shown.evaluating("generating samples", 1.0)
    assert shown.bar.line().startswith("generating samples, then the run stops")
    assert shown.bar.left == 0 and "100 %" in shown.bar.line()


def test_without_any_progress_no_share_is_shown(clock):
    t = SimpleNamespace(progress=Progress(10), schedule=Schedule(max_iters=100), signals=[])
    shown = RunBar(t, Bar("train", visible=False))
    shown.step(t, Due("start"))
    assert "%" not in shown.bar.line()


def test_a_run_says_its_stages(small_data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("samplernn_theano.utils.progress.LINE_SECONDS", 0)
    words = "train one_tier --preset tiny --max-iters 4 --n_seqs 1 --sample-seconds 0.01".split()
    assert main([*words, "--data", str(small_data), "--run", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().err.splitlines()
    stages = ("evaluating on valid, 1 of 2", "evaluating on test, 2 of 2", "generating samples")
    at = [next(i for i, line in enumerate(lines) if line.startswith(stage)) for stage in stages]
    assert at == sorted(at) and "100 %" not in lines[at[1]]
    assert "bits  25 %" in "\n".join(lines) and "100 %" in lines[-1]
