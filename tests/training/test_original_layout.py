"""Runs with --original-layout, and resumed runs of the original, against the original's own."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.cli.main import main
from samplernn_theano.config.flags import to_argv
from samplernn_theano.config.hyperparameters import KTier
from samplernn_theano.config.schedule import Schedule
from samplernn_theano.errors import DataError, HyperParameterError
from samplernn_theano.original import layout, pickles, results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.original.tags import RESULTS
from samplernn_theano.training import loop, step
from samplernn_theano.training.run import resume, train
from tests.training.conftest import evaluations

pytestmark = pytest.mark.usefixtures("optimised")
GOLDEN = Path(__file__).parents[1] / "golden"
CORPUS = GOLDEN / "feeders" / "corpus" / "music"
TREES = {
    family: ResultTree(next((GOLDEN / "checkpoints" / folder).iterdir()))
    for family, folder in RESULTS.items()
}
ANSWERS = json.loads((GOLDEN / "checkpoints" / "resume.json").read_text())


def _constants(text: str) -> dict[str, str]:
    """The lines of model_settings.txt that name a constant of the original's script."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("\t")]
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0].isupper()}


def costs_of(monkeypatch) -> list[list[float]]:
    """A list that is filled with [iteration, cost] of every training step."""
    real, costs = loop.train_step, []

    def costly_step(t, batch):
        real(t, batch)
        step.wait_for_cost(t)
        costs.append([t.progress.iteration, t.progress.minibatch])

    monkeypatch.setattr(loop, "train_step", costly_step)
    return costs


@pytest.mark.parametrize("family", TREES)
def test_a_run_leaves_what_the_original_left(family, tmp_path, monkeypatch):
    """The same files, and in their names and in the log the same numbers; the times are the machine's own."""
    golden, costs = TREES[family], costs_of(monkeypatch)
    golden_settings = results_folder.settings(golden)
    folder = layout.results_path(tmp_path, golden_settings.hp, "MUSIC", "CKPT", golden_settings.learning_rate)
    assert folder.parent.name == golden.folder.parent.name
    schedule = Schedule(max_iters=97, monitor_iters=40, n_seqs=2, sample_seconds=200 / 16000)
    assert train(golden_settings.hp, CORPUS, folder, schedule, exp="CKPT") == 0

    tree = ResultTree(folder)
    assert results_folder.settings(tree) == golden_settings
    ours, theirs = results_folder.checkpoints(tree), results_folder.checkpoints(golden)
    for (name, path), (their_name, their_path) in zip(ours, theirs, strict=True):
        assert (name.epoch, name.iteration, name.best) == (*their_name[:2], their_name.best)
        assert (name.train, name.valid) == pytest.approx((their_name.train, their_name.valid), abs=1.01e-4)
        arrays, their_arrays = pickles.read(path), pickles.read(their_path)
        assert arrays.keys() == their_arrays.keys()
        for key, array in their_arrays.items():
            # worst measured: 3.0e-6
            np.testing.assert_allclose(arrays[key], array, rtol=0, atol=1.5e-5, err_msg=key)
    log, their_log = results_folder.read_log(tree), results_folder.read_log(golden)
    assert log.keys() == their_log.keys()
    for key in (key for key in log if "time" not in key):
        assert log[key] == pytest.approx(their_log[key], rel=1e-5), key
    expected = ANSWERS[f"{family}/all_train_costs"][:97]
    np.testing.assert_allclose(costs, expected, rtol=2.4e-6)  # worst measured: 4.7e-7
    for (_, path), (_, their_path) in zip(ours, theirs, strict=True):
        for i in range(2):  # samples of each evaluation: the random streams continue from one to the next
            name, their_name = (
                f"sample_{p.stem.removeprefix('params_')}_{i}.wav" for p in (path, their_path)
            )
            assert (tree.samples / name).read_bytes() == (golden.samples / their_name).read_bytes()
    assert len(list(tree.samples.iterdir())) == 2 * len(ours)
    assert list(tree.best.iterdir()) == []
    # model_settings.txt is the same, except versions, paths and the order of the flags.
    ours, theirs = (_constants(t.model_settings.read_text()) for t in (tree, golden))
    assert theirs.keys() - ours.keys() == {"STOP_TIME"}  # no time limit was given
    elsewhere = {key for key in ours if key.endswith(("_PATH", "_PREFIX"))}
    assert {key for key in ours if ours[key] != theirs[key]} - elsewhere == {"STOP_ITERS"}


@pytest.mark.parametrize("family", TREES)
def test_a_run_of_the_original_resumes_as_the_original_did(family, tmp_path, monkeypatch, capsys):
    """Parameters alone are reloaded: the costs are those of the original when it was restarted."""
    folder, costs = tmp_path / RESULTS[family] / TREES[family].folder.name, costs_of(monkeypatch)
    shutil.copytree(TREES[family].folder, folder)
    before = {path.name: path.read_bytes() for path in (folder / "params").iterdir()}
    changes = {"max_iters": 130, "max_minutes": None, "monitor_iters": 40, "n_seqs": 0}
    assert resume(folder, changes, CORPUS) == 0
    expected = ANSWERS[f"{family}/all_train_costs_after_resume"]
    np.testing.assert_allclose(costs[:10], expected[:10], rtol=2e-6)
    # Adam starts from zero: its first steps are of full length whatever the gradient, so rounding grows.
    worst = 2.4e-5 if family == "two_tier" else 3.8e-7  # measured
    np.testing.assert_allclose(costs, expected, rtol=5 * worst)
    assert "neither Adam's moments nor the recurrent states" in capsys.readouterr().err

    # The original's files are still there; the evaluation at the end is added.
    assert before.items() <= {path.name: path.read_bytes() for path in (folder / "params").iterdir()}.items()
    log = results_folder.read_log(ResultTree(folder))
    for key, values in ANSWERS[f"{family}/train_log_after_real_resume"].items():
        assert log[key][: len(values)] == pytest.approx(values)
    assert log["iter"] == [r["iteration"] for r in evaluations(folder)] == [40, 80, 97, 130]
    if family == "one_tier":  # it has become a run folder
        assert npz.load(run_folder.Run(folder).last).progress["iteration"] == 130
        assert resume(folder, {"max_iters": 132}) == 0
        assert float(npz.load(run_folder.Run(folder).last).adam["adam.t"]) == 35


def test_a_run_of_the_original_needs_its_data(tmp_path):
    folder = Path(shutil.copytree(TREES["two_tier"].folder, tmp_path / "results_2t" / "copy"))
    with pytest.raises(DataError, match="--data"):
        resume(folder)
    other = tmp_path / "other"
    other.mkdir()
    for split in ("train", "valid", "test"):
        np.save(other / f"x_{split}.npy", np.random.default_rng(0).uniform(-1, 1, (4, 100)).astype("f2"))
    (folder / "params" / "params_e1_i97_t0.00_tr4.9473_v4.9141_best.pkl").unlink()  # so from iteration 80
    with pytest.raises(DataError, match="has 2 minibatches an epoch .* 80 of one.*--data"):
        resume(folder, data=other)


def test_original_layout_refuses_models_that_the_original_lacks(small_data, tmp_path):
    with pytest.raises(HyperParameterError, match="has no k_tier"):
        train(KTier(dim=8, batch_size=4, seq_len=128), small_data, tmp_path / "run", exp="x")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [("music_train.npy", "MUSIC"), ("Blizzard9k_train.npy", "BLIZZ"), ("my-voice_2_train.npy", "MYVOICE2")],
)
def test_the_names_of_data_sets(file, name):
    assert layout.which_set(file) == name


def test_unknown_hyperparameters_of_a_run_are_requested(tmp_path, capsys):
    """The original's args.pkl is lost, and the folder was renamed."""
    folder = Path(shutil.copytree(TREES["three_tier"].folder, tmp_path / "renamed"))
    (folder / "args.pkl").unlink()
    (tmp_path / "results_3t").mkdir()
    folder = folder.rename(tmp_path / "results_3t" / "renamed")
    assert main(["resume", str(folder), "--data", str(CORPUS)]) == 2
    errors = capsys.readouterr().err
    assert all(f"--set {name}=..." in errors for name in ("batch_size", "seq_len", "q_type", "learn_h0"))
    words = [f"--set={name}={value}" for name, value in (("batch_size", 4), ("seq_len", 64))]
    assert main(["resume", str(folder), "--data", str(CORPUS), *words]) == 2
    assert "--set q_type=..." in capsys.readouterr().err


def test_flags_that_contradict_a_resumed_run_are_refused(tmp_path, capsys):
    folder = Path(shutil.copytree(TREES["one_tier"].folder, tmp_path / "results_1t" / "run"))
    hp = results_folder.settings(ResultTree(folder)).hp
    command = ["train", "one_tier", *to_argv(hp), "--data", str(CORPUS), "--run", str(folder), "--resume"]
    for other, words in (
        (["--learning-rate", "0.05"], "learning_rate 0.001, not 0.05"),
        (["--seed", "7"], "seed 123, not 7"),
        (["--dim", "8"], "dim 16, not 8"),
    ):
        assert main([*command, *other]) == 2
        assert words in capsys.readouterr().err
