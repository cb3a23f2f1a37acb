"""Training as a process: run folder, log, checkpoints, exit codes."""

import json
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from samplernn_theano.backends import malloc
from samplernn_theano.checkpoints import load, npz, run_folder
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import RNNGMM, ThreeTier
from samplernn_theano.config.schedule import Progress, Schedule
from samplernn_theano.config.settings import Options
from samplernn_theano.data.dataset import load_split, statistics
from samplernn_theano.errors import DivergedError, HyperParameterError, SampleRNNError
from samplernn_theano.training import hooks, loop
from samplernn_theano.training.hooks import evaluate_split, save_checkpoint
from samplernn_theano.training.loop import OUT_OF_TIME
from samplernn_theano.training.run import resume, train
from samplernn_theano.training.step import Due, TrainingState, compile_trainer, wait_for_cost
from tests.conftest import started, wait_until
from tests.training.conftest import listed, log

FLAGS = "--preset tiny --dim 16 --emb_size 8 --q_levels 32".split()
HP = ThreeTier(dim=16, emb_size=8, q_levels=32, seq_len=128, batch_size=4)


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    """A short run: two epochs with samples, as a process."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    words = ("train", "three_tier", "--data", small_data, "--run", folder, *FLAGS)
    process = started(*words, "--max-epochs", 2, "--n_seqs", 2, "--sample-seconds", 0.05)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    return run_folder.Run(folder)


@pytest.fixture(scope="module")
def trainer():
    return compile_trainer(HP)


def test_the_run_folder_holds_everything(trained):
    checkpoints = {f"checkpoints/{name}.npz" for name in ("last", "best")}
    samples = {f"samples/sample_i{i}_{number}.wav" for i in (33, 64) for number in (0, 1)}
    assert listed(trained.folder) == {"settings.json", "log.jsonl", "train_log.png"} | checkpoints | samples
    settings = json.loads(trained.settings.read_text())
    assert settings["hyperparameters"]["dim"] == 16 and settings["seed"] == 123
    assert "train three_tier" in settings["command"]
    assert {"python", "samplernn-theano", "pytensor", "numpy", "jax"} <= settings["versions"].keys()
    assert settings["devices"].startswith("cpu (")
    assert set(settings["data_sha256"]) == {"train", "valid", "test"}
    assert "git_revision" in settings and settings["backend"] == "jax"
    assert npz.load(trained.last).settings == settings


def test_the_log(trained):
    start, *monitored, end = (r for r in log(trained.folder) if r["event"] != "train")
    assert (start["event"], end["event"]) == ("start", "end") and monitored == log(trained.folder, "monitor")
    assert start["versions"] == json.loads(trained.settings.read_text())["versions"]
    # Quirk: the evaluation at the end of an epoch comes after the first pass of the next.
    assert [r["iteration"] for r in monitored] == [33, 64]
    assert monitored[1]["valid"] < monitored[0]["valid"]
    assert monitored[1]["train"] < monitored[0]["train"]


def test_the_checkpoint_holds_all_that_a_resumed_run_needs(trained):
    checkpoint = npz.load(trained.last)
    assert checkpoint.hp == HP
    assert checkpoint.progress["iteration"] == 64
    assert (checkpoint.progress["epoch"], checkpoint.progress["batch"]) == (1, 32)
    assert float(checkpoint.adam["adam.t"]) == 64
    untrained = {f"BigFrameLevel.IndependentPreds.{p}" for p in ("W0", "b", "g0")}
    trained_names = {name[7:] for name in checkpoint.adam if name.startswith("adam.m.")}
    assert trained_names == set(checkpoint.parameters) - untrained
    assert set(checkpoint.states) == {"big_h0", "h0"}
    assert all(np.abs(s).max() > 0 for s in checkpoint.states.values())
    assert checkpoint.settings["schedule"]["learning_rate"] == 0.001
    assert checkpoint.settings["seed"] == 123 and "learning_rate" not in checkpoint.settings


def test_the_same_command_gives_the_same_numbers(trained, small_data, tmp_path):
    schedule = Schedule(max_epochs=2, n_seqs=0)
    assert train(HP, small_data, tmp_path / "again", schedule, Options(backend="jax")) == 0
    first, second = (npz.load(r.last).parameters for r in (trained, run_folder.Run(tmp_path / "again")))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_the_validation_score_is_the_mean_over_minibatches(trained, trainer, small_data):
    """A checkpoint scored again gives the logged number."""
    trainer.graph.parameters.assign(npz.load(trained.last).parameters)
    valid = evaluate_split(trainer, load_split(small_data, "valid"))
    assert valid == pytest.approx(log(trained.folder, "monitor")[-1]["valid"], rel=1e-6)


def test_a_run_generates(trained):
    assert main(["generate", str(trained.folder), "--seconds", "0.05", "--n_seqs", "1"]) == 0
    assert (trained.samples / f"{trained.folder.name}_best_seed0_t1_0.wav").exists()


def test_a_signal_ends_the_run_with_a_checkpoint(small_data, tmp_path):
    run = run_folder.Run(tmp_path / "run")
    words = ["train", "one_tier", "--data", small_data, "--run", run.folder, *FLAGS, "--n_seqs", 0]
    iterations = [0]
    for number in (signal.SIGINT, signal.SIGTERM):
        with started(*words) as process:
            wait_until(lambda: log(run.folder) and log(run.folder)[-1]["event"] == "train", process)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number and "Traceback" not in errors, errors
        assert log(run.folder)[-1]["event"] == "stopped"
        iterations.append(npz.load(run.last).progress["iteration"])
        load.build(load.read(run.last))
        words = ["resume", run.folder]
    assert iterations == sorted(set(iterations))


def test_the_command_line_sets_both(small_data, tmp_path, monkeypatch):
    handlers, sizes, step = [], [], loop.train_step

    def recorded_step(t, batch):
        handlers.append(signal.getsignal(signal.SIGTERM))
        step(t, batch)

    monkeypatch.setattr(loop, "train_step", recorded_step)
    monkeypatch.setattr(malloc, "keep_freed_memory", sizes.append)
    words = ["train", "three_tier", "--data", str(small_data), "--run", str(tmp_path / "run"), *FLAGS]
    assert main([*words, "--max-iters", "1", "--n_seqs", "0"]) == 0
    assert main(["resume", str(tmp_path / "run"), "--max-iters", "2"]) == 0
    assert sizes == [HP.batch_size * HP.seq_len * HP.dim] * 2
    assert [handler.__qualname__.split(".")[0] for handler in handlers] == ["handle_signals"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": Options(seed=-1)}, "seed must be a whole number"),
        ({"schedule": Schedule(learning_rate=np.inf)}, "must be positive, not inf"),
        ({"exp": "x", "options": Options(backend="abacus")}, "abacus"),
    ],
)
def test_arguments_are_checked_before_a_folder_is_created(small_data, tmp_path, arguments, message):
    with pytest.raises(SampleRNNError, match=message):
        train(HP, small_data, tmp_path / "run", **arguments)
    assert not run_folder.Run(tmp_path / "run").settings.exists()


def test_changes_of_the_schedule_are_checked_first(tmp_path):
    with pytest.raises(HyperParameterError, match="has no max_iter; choose from max_iters, "):
        resume(tmp_path / "nowhere", {"max_iter": 5})


class Late:
    """A cost that is computed asynchronously."""

    def __float__(self):
        time.sleep(0.05)
        return 1.0


@pytest.mark.parametrize("monitor_iters", [1, 1000])
def test_all_steps_count_as_training_and_evaluations_do_not(monitor_iters, trainer, small_data, tmp_path):
    """Also the step that an evaluation waits for; not the first one, which compiles."""

    def slow_evaluation(t, due):
        if due.evaluation:
            wait_for_cost(t)
            time.sleep(0.2)

    states = trainer.zero_states()
    late = replace(trainer, step=lambda *_: [Late(), *states])
    clips = {"train": load_split(small_data, "train")}
    schedule = Schedule(max_iters=6, monitor_iters=monitor_iters, max_minutes=None)
    run = run_folder.create(tmp_path / "run", {})
    t = TrainingState(late, clips, run, schedule, Progress(1000), states, time.monotonic())
    assert loop.train_loop(t, "start", [slow_evaluation]) == 0
    assert 5 * 0.05 <= t.progress.seconds < 5 * 0.05 + 0.2


def test_a_broken_model_does_not_replace_a_good_checkpoint(trainer, small_data, tmp_path):
    run = run_folder.create(tmp_path / "run", {})
    clips = {split: load_split(small_data, split) for split in ("valid", "test")}
    t = TrainingState(trainer, clips, run, Schedule(), Progress(iteration=7), trainer.zero_states(), 0.0)
    trainer.graph.parameters.assign({"SampleLevel.L2.b": np.zeros(HP.dim)})
    save_checkpoint(t, run.last)
    good = run.last.read_bytes()
    trainer.graph.parameters.assign({"SampleLevel.L2.b": np.full(HP.dim, np.nan)})
    with pytest.raises(DivergedError, match="SampleLevel.L2.b is not finite after 7 updates"):
        save_checkpoint(t, run.last)
    with pytest.raises(DivergedError, match="is not finite"):
        hooks.evaluate(t, Due(evaluation=True))
    assert run.last.read_bytes() == good


def test_debug_is_a_quick_check(small_data, tmp_path):
    words = ["train", "one_tier", "--data", str(small_data), "--run", str(tmp_path / "run"), *FLAGS]
    assert main([*words, "--debug"]) == 0
    assert npz.load(tmp_path / "run/checkpoints/last.npz").progress["iteration"] == 60


def test_the_same_command_starts_and_resumes_a_run(small_data, tmp_path, capsys):
    """For the queue of a cluster: train --resume, again and again; here after a start that was killed."""
    run = run_folder.Run(tmp_path / "run")
    (run.folder / "params").mkdir(parents=True)  # of --original-layout
    run.log.touch()
    command = ["train", "one_tier", "--data", str(small_data), "--run", str(run.folder), *FLAGS, "--resume"]
    command += ["--n_seqs", "0", "--max-iters", "9"]
    assert main([*command, "--max-time", "0.001s"]) == OUT_OF_TIME
    assert "Stopped by --max-time after iteration 1; resume with: samplernn resume" in capsys.readouterr().out
    assert main(command) == 0
    assert npz.load(run.last).progress["iteration"] == 9
    events = [r["event"] for r in log(run.folder) if r["event"] not in ("train", "monitor")]
    assert events == ["start", "stopped", "resume", "end"]
    for other, words in ((["--dim", "8"], "dim 16, not 8"), (["--seed", "1"], "seed 123, not 1")):
        assert main([*command, *other]) == 2
        assert words in capsys.readouterr().err
    assert main(["train", "two_tier", *command[2:]]) == 2
    assert "family one_tier, not two_tier" in capsys.readouterr().err
    assert npz.load(run.last).progress["iteration"] == 9


def test_real_numbers_are_normalised_by_the_training_clips(small_data, tmp_path, capsys):
    hp = RNNGMM(dim=8, n_components=2, seq_len=100, batch_size=4)
    run = run_folder.Run(tmp_path / "run")
    assert train(hp, small_data, run.folder, Schedule(max_iters=30, n_seqs=0)) == 0
    kept = npz.load(run.last).hp
    clips = load_split(small_data, "train")
    assert (kept.mean, kept.std) == statistics(clips)
    record = log(run.folder, "monitor")[0]
    assert f"(valid {record['valid'] * np.log(2):.4f} nats)" in capsys.readouterr().out
    assert load.read(run.last).hp == kept


def test_clips_of_very_different_lengths_are_trained_on_and_scored(tmp_path):
    """In most chunks only one clip of the batch counts; the others have ended."""
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.RandomState(0)
    for split, sizes in (("train", [40, 130, 1, 1300, 7, 900, 60, 128]), ("valid", [500, 3, 3, 3])):
        clips = [np.append(rng.normal(0, 0.1, size - 1), 0.5) for size in sizes]
        for name in (split, "test") if split == "valid" else (split,):
            np.save(data / f"a_{name}.npy", np.concatenate(clips).astype(np.float16))
            np.save(data / f"a_{name}_offsets.npy", np.cumsum([0, *sizes]))
    run, hp = run_folder.Run(tmp_path / "run"), replace(HP, normalisation="absmax")
    assert train(hp, data, run.folder, Schedule(max_epochs=2, n_seqs=0)) == 0
    checkpoint = npz.load(run.last)
    assert checkpoint.hp == hp and checkpoint.progress["iteration"] == 2 * (11 + 8)
    assert all(np.isfinite(array).all() for array in checkpoint.parameters.values())
    records = log(run.folder, "monitor")
    assert len(records) == 2 and records[1]["train"] < records[0]["train"]
    assert all(np.isfinite([r["valid"], r["test"] or 0]).all() for r in records)


def test_independent_predictions_are_trained_where_asked_for(trained, small_data, tmp_path):
    words = ["train", "three_tier", "--data", str(small_data), "--run", str(tmp_path / "run"), *FLAGS]
    assert main([*words, "--n_seqs", "0", "--max-iters", "1", "--ip-weight", "0.5"]) == 0
    kept = [npz.load(run.last).parameters for run in (trained, run_folder.Run(tmp_path / "run"))]
    bias = "BigFrameLevel.IndependentPreds.b"
    assert not kept[0][bias].any() and kept[1][bias].any()
