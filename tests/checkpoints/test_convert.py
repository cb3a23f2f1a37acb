"""Conversion from and to the original's formats."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samplernn_theano.checkpoints import from_original, inspect, load, npz
from samplernn_theano.checkpoints.convert import convert
from samplernn_theano.checkpoints.npz import Checkpoint
from samplernn_theano.checkpoints.run_folder import Run, read_log
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import HyperParameters, KTier, OneTier, TwoTier, to_store
from samplernn_theano.config.schedule import Progress
from samplernn_theano.errors import CheckpointError, HyperParameterError, OutputError
from samplernn_theano.evaluation import score_report
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.original import pickles, results_folder
from samplernn_theano.original.layout import evaluations_of, log_of
from samplernn_theano.original.results_folder import LOG_KEYS, RESUMED, ResultTree
from samplernn_theano.original.tags import original_argv, tag
from samplernn_theano.training import run as training
from samplernn_theano.utils import plotting
from samplernn_theano.utils.files import locked
from tests.conftest import GOLDEN

TREES = {
    results_folder.family_of(ResultTree(args.parent)): ResultTree(args.parent)
    for args in sorted((GOLDEN / "checkpoints").glob("results_*/*/args.pkl"))
}
ANSWERS = json.loads((GOLDEN / "checkpoints" / "resume.json").read_text())
HP = OneTier(dim=4, emb_size=3, q_levels=8, seq_len=16, batch_size=2)

each_family = pytest.mark.parametrize("family", ["one_tier", "two_tier", "three_tier", "wavenet"])


def copied(folder: Path, family: str) -> ResultTree:
    """A golden tree that may be changed."""
    golden = TREES[family].folder
    return ResultTree(shutil.copytree(golden, folder / "theirs" / golden.parent.name / golden.name))


def params(tree: ResultTree) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for _, path in results_folder.checkpoints(tree)}


def only_tree(root: Path) -> ResultTree:
    (folder,) = root.glob("results_*/*")
    return ResultTree(folder)


def initial(hp: HyperParameters) -> dict[str, np.ndarray]:
    """Untrained parameters."""
    built = Parameters(seed=123)
    build_graph(built, hp)
    return built.arrays()


def made_run(folder: Path, hp: HyperParameters = HP, **settings) -> Run:
    """A run with evaluations at iterations 10, 20 and 30, the second the best, interrupted at 35."""
    run, arrays = Run(folder), initial(hp)
    costs = [(10, 3.0, 3.5), (20, 2.0, 2.5), (30, 2.25, None)]
    records = [{"event": "start", "iteration": 0}]
    for iteration, valid, test in costs:
        where = {"iteration": iteration, "epoch": 0, "seconds": 360.0 * iteration}
        records += [
            {"event": "train", **where, "nll_bits": valid},
            {"event": "monitor", **where, "train": valid + 1, "valid": valid, "test": test},
        ]
    for path, iteration in ((run.best, 20), (run.last, 35), (run.evaluation_checkpoint(30, 2.25), 30)):
        moved = {name: value + np.float32(iteration) for name, value in arrays.items()}
        about = {"schedule": {"learning_rate": 0.002}, "which_set": "MUSIC", **settings}
        moments = {"adam.t": np.float32(iteration)}
        progress = asdict(Progress(iteration=iteration))
        npz.save(path, Checkpoint(hp, moved, moments, {"h0": arrays["SampleLevel.h0"]}, progress, about))
    run.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


@each_family
def test_a_results_folder_becomes_a_run_and_comes_back_the_same(family, tmp_path):
    theirs = copied(tmp_path, family)
    log = results_folder.read_log(theirs) | {RESUMED: [1, 3]}
    pickles.write(theirs.log, log)

    result = convert(theirs.folder, tmp_path / "run")
    assert "3 evaluations, 3 with parameters; it resumes from iteration 97, the best is 97" in result
    assert "saved neither Adam's moments nor the recurrent states" in result and "\n" not in result
    run, evaluated = Run(tmp_path / "run"), zip(log["iter"], log["valid NLL (bits)"], strict=True)
    assert {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()} == {
        *("settings.json", "log.jsonl", "train_log.png", "checkpoints/last.npz", "checkpoints/best.npz"),
        *(run.evaluation_checkpoint(*kept).relative_to(run.folder).as_posix() for kept in evaluated),
        *(f"samples/sample_i{i}_{k}.wav" for i in (40, 80, 97) for k in range(2)),
    }
    assert [(r["event"], r["iteration"]) for r in read_log(run)] == [
        *(("monitor", 40), ("resume", 40), ("monitor", 80), ("monitor", 97), ("resume", 97))
    ]

    result = convert(run.folder, tmp_path / "back")
    back = only_tree(tmp_path / "back")
    assert result.startswith(f"Wrote the results folder {back.folder}: 3 evaluations, 3 with parameters")
    assert back.folder.relative_to(tmp_path / "back") == theirs.folder.relative_to(tmp_path / "theirs")
    assert params(back) == params(theirs) and len(params(back)) == 3
    assert pickles.read(back.args) == pickles.read(theirs.args)
    assert results_folder.read_log(back) == log
    assert results_folder.settings(back) == results_folder.settings(theirs)
    assert results_folder.find_resume_point(back)[:3] == results_folder.find_resume_point(theirs)[:3]
    assert back.best.is_dir() and not any(back.best.iterdir())
    assert {p.name: p.read_bytes() for p in back.samples.iterdir()} == {
        p.name: p.read_bytes() for p in theirs.samples.iterdir()
    }
    assert back.model_settings.exists()


@each_family
def test_a_run_resumes_where_the_original_would(family, tmp_path):
    tree, golden = TREES[family], ANSWERS[f"{family}/intact"]
    convert(tree.folder, tmp_path / "run")
    last = npz.load(Run(tmp_path / "run").last)
    log = results_folder.read_log(tree)
    expected = {"batches_per_epoch": 96, "epoch": 1, "batch": golden["iters_to_consume"]}
    expected |= {name: 97 for name in ("iteration", "best_iteration", "last_monitor_iteration")}
    expected |= {name: log["train time"][2] for name in ("seconds", "last_monitor_seconds")}
    expected |= {"best_valid": golden["other"][0], "best_test": golden["other"][1]}
    expected["minibatch"] = float(golden["res_path"].split("_tr")[1][:6])
    assert last.progress == asdict(Progress(**expected))
    assert last.hp == results_folder.settings(tree).hp and not last.adam and not last.states
    assert last.settings == json.loads(Run(tmp_path / "run").settings.read_text())
    assert last.settings["hyperparameters"] == to_store(last.hp)
    assert last.settings["learning_rate"] == (0.0001 if family == "wavenet" else 0.001)
    assert [last.settings[name] for name in ("which_set", "exp")] == ["MUSIC", "CKPT"]
    assert last.settings["original_argv"] == pickles.read(tree.args)
    arrays = pickles.read(tree.params / golden["res_path"])
    assert all(np.array_equal(last.parameters[name], arrays[name]) for name in arrays)


def test_a_run_resumes_from_the_parameters_that_are_left(tmp_path):
    tree = copied(tmp_path, "two_tier")
    next(tree.params.glob("*_i97_*")).unlink()
    result = convert(tree.folder, tmp_path / "run")
    assert "3 evaluations, 2 with parameters; it resumes from iteration 80, the best is 80" in result
    run = Run(tmp_path / "run")
    last = npz.load(run.last)
    golden = ANSWERS["two_tier/without_i97"]
    assert last.progress["batch"] == golden["iters_to_consume"] == 80
    assert [last.progress["best_valid"], last.progress["best_test"]] == golden["other"][:2]
    assert [r["iteration"] for r in read_log(run)] == [40, 80, 97]

    for path in tree.params.iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="belongs to an evaluation"):
        convert(tree.folder, tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "theirs"]


def test_the_best_is_the_lowest_validation_cost_whose_parameters_are_there(tmp_path):
    """The third is worse than the second: the original repeats the test cost, our log has none."""
    tree = copied(tmp_path, "one_tier")
    log = results_folder.read_log(tree)
    log["valid NLL (bits)"][2] = 4.95
    for key in ("lowest valid cost", "correponding test cost", "test NLL (bits)", "test time"):
        log[key][2] = log[key][1]
    pickles.write(tree.log, log)
    third = next(tree.params.glob("*_i97_*"))
    third.rename(third.with_name(third.name.replace("v4.8937_best", "v4.9500")))

    result = convert(tree.folder, tmp_path / "run")
    assert "it resumes from iteration 97, the best is 80" in result
    run = Run(tmp_path / "run")
    best, last = npz.load(run.best).progress, npz.load(run.last).progress
    assert (best["iteration"], best["evals_without_improvement"], best["batch"]) == (80, 0, 80)
    assert (last["iteration"], last["best_iteration"], last["evals_without_improvement"]) == (97, 80, 1)
    assert last["best_valid"] == best["best_valid"] == log["valid NLL (bits)"][1]
    assert [r["test"] is None for r in read_log(run)] == [False, False, True]
    convert(run.folder, tmp_path / "back")
    back = only_tree(tmp_path / "back")
    assert results_folder.read_log(back) == log and params(back) == params(tree)

    next(tree.params.glob("*_i80_*")).unlink()
    assert "the best is 97" in convert(tree.folder, tmp_path / "without")


def test_of_two_files_for_an_evaluation_the_original_takes_the_newer_and_the_evaluation_before(tmp_path):
    """Quirk: the parameters are then newer than the position in the data."""
    tree = copied(tmp_path, "three_tier")
    written = next(tree.params.glob("*_i97_*"))
    shutil.copy(written, tree.params / "params_e1_i97_older_best.pkl")
    convert(tree.folder, tmp_path / "run")
    last = npz.load(Run(tmp_path / "run").last)
    arrays = pickles.read(written)
    assert last.progress["iteration"] == last.progress["batch"] == 80
    assert all(np.array_equal(last.parameters[name], arrays[name]) for name in arrays)
    convert(tmp_path / "run", tmp_path / "back")
    assert params(only_tree(tmp_path / "back")) == params(TREES["three_tier"])


def test_another_file_under_the_longer_name_of_an_evaluation_is_not_taken_for_it(tmp_path):
    tree = copied(tmp_path, "three_tier")
    written = next(tree.params.glob("*_i80_*"))
    averaged = Path(shutil.copy(written, written.with_name(f"{written.stem}_averaged.pkl")))
    convert(tree.folder, tmp_path / "run")  # a copy is none
    pickles.write(averaged, {name: array / 2 for name, array in pickles.read(written).items()})
    with pytest.raises(CheckpointError, match="_averaged.pkl is another file than .*; keep only one"):
        convert(tree.folder, tmp_path / "other")


COSTS = st.sampled_from([1.0, 2.0, 3.0]) | st.floats(0, 8, width=32)  # some are equal


@given(
    st.lists(st.tuples(st.integers(0, 1), COSTS, COSTS, COSTS, st.floats(0, 1e6)), min_size=1, max_size=9),
    st.sets(st.integers(1, 9)),
)
def test_any_log_of_the_original_becomes_ours_and_back(rows, resumed):
    """A log as the original writes it: the test split is scored where the validation cost is the lowest."""
    log = {key: [] for key in LOG_KEYS}
    epoch, lowest, test, best = 0, math.inf, math.nan, []
    for n, (later, train, valid, tested, seconds) in enumerate(rows, 1):
        epoch += later
        best.append(valid < lowest)
        if best[-1]:
            lowest, test, test_time = valid, tested, seconds / 2
        row = (epoch, 10 * n, train, valid, test, lowest, test, seconds, seconds / 3, test_time, 2 * seconds)
        for key, value in zip(LOG_KEYS, row, strict=True):
            log[key].append(value)
    ours = evaluations_of(log)
    assert log_of(ours) == log and [record["test"] is not None for record in ours] == best
    with pytest.raises(CheckpointError, match="not as many values of 'train time' as evaluations"):
        evaluations_of(log | {"train time": []})
    resumed = sorted(n for n in resumed if n <= len(rows))
    records = from_original.log_records(log | {RESUMED: resumed})
    assert [r["iteration"] // 10 for r in records if r["event"] == "resume"] == resumed
    assert [r for r in records if r["event"] == "monitor"] == [{"event": "monitor", **r} for r in ours]


@each_family
def test_parameters_become_a_checkpoint_and_come_back_byte_for_byte(family, tmp_path):
    tree = TREES[family]
    log = results_folder.read_log(tree)
    name, path = results_folder.checkpoints(tree)[1]
    convert(path, tmp_path / "ours.npz")
    ours = npz.load(tmp_path / "ours.npz")
    assert ours.hp == results_folder.settings(tree).hp
    at = ours.progress
    assert (at["iteration"], at["epoch"], at["batch"], at["seconds"]) == (80, 0, 80, log["train time"][1])
    assert (at["minibatch"], at["best_valid"]) == (name.train, log["valid NLL (bits)"][1])
    convert(tmp_path / "ours.npz", tmp_path / "theirs.pkl")
    assert (tmp_path / "theirs.pkl").read_bytes() == path.read_bytes()
    convert(tree.folder, tmp_path / "ours.npz", overwrite=True)  # of a folder the best, here the last
    assert npz.load(tmp_path / "ours.npz").progress["iteration"] == 97


def test_unknown_hyperparameters_of_a_single_file_are_assumed_and_named(tmp_path, capsys):
    name, path = results_folder.checkpoints(TREES["one_tier"])[1]
    shutil.copy(path, tmp_path)
    assert main(["convert", str(tmp_path / path.name), str(tmp_path / "a.npz"), "--set", "seq_len=64"]) == 0
    (result,) = capsys.readouterr().out.splitlines()
    assert result.startswith(f"Wrote the checkpoint {tmp_path / 'a.npz'} from ")
    assert "batch_size, q_type, learn_h0, normalisation, rate; assumed as in the authors' best" in result
    unknown = {"batch_size", "q_type", "learn_h0", "normalisation", "rate"}
    assert set(load.read(tmp_path / "a.npz").assumed) == unknown
    ours = npz.load(tmp_path / "a.npz")
    assert (ours.hp.dim, ours.hp.seq_len, ours.hp.batch_size) == (16, 64, 128)
    assert ours.settings["which_set"] is None and "original_argv" not in ours.settings
    at = ours.progress
    assert (at["iteration"], at["epoch"], at["best_valid"], at["best_iteration"]) == (80, 0, 4.9294, 80)

    (tmp_path / path.name).rename(tmp_path / "model.pkl")  # without the original's file name
    convert(tmp_path / "model.pkl", tmp_path / "b.npz", which_set="BLIZZ")
    ours = npz.load(tmp_path / "b.npz")
    assert ours.progress == asdict(Progress()) and ours.settings["which_set"] == "BLIZZ"


def test_a_run_becomes_a_results_folder(tmp_path):
    """Its log is of an older version, without the cost of the last minibatch and some times."""
    run = made_run(tmp_path / "run", schedule={"n_seqs": 2, "max_iters": None}, learning_rate=0.002)
    run.samples.mkdir()
    for name in ("sample_i20_0.wav", "sample_i20_1.wav", "sample_i25_0.wav", "other.wav"):
        (run.samples / name).touch()
    convert(run.folder, tmp_path / "theirs", exp="mine")
    tree = only_tree(tmp_path / "theirs")
    argv = original_argv(HP, "MUSIC", "mine")
    assert pickles.read(tree.args) == argv and tree.folder.name == tag(argv, "one_tier", 0.002)
    assert results_folder.settings(tree) == (HP, "MUSIC", 0.002)
    assert [path.name for _, path in results_folder.checkpoints(tree)] == [
        "params_e0_i20_t2.00_tr3.0000_v2.0000_best.pkl",
        "params_e0_i30_t3.00_tr3.2500_v2.2500.pkl",
    ]
    for iteration, path in ((20, run.best), (30, run.evaluation_checkpoint(30, 2.25))):
        written = pickles.read(next(tree.params.glob(f"*_i{iteration}_*")))
        ours = npz.load(path).parameters
        assert all(np.array_equal(written[name], ours[name]) for name in ours)
    log = results_folder.read_log(tree)
    assert log["iter"] == [10, 20, 30] and log["lowest valid cost"] == [3.0, 2.0, 2.0]
    assert log["test NLL (bits)"] == [3.5, 2.5, 2.5] and log["wall clock time"] == [0.0] * 3
    assert RESUMED not in log
    assert sorted(path.name for path in tree.samples.iterdir()) == [
        "sample_e0_i20_t2.00_tr3.0000_v2.0000_best_0.wav",
        "sample_e0_i20_t2.00_tr3.0000_v2.0000_best_1.wav",
    ]
    assert tree.plot.exists() and "N_SEQS               2" in tree.model_settings.read_text()
    assert results_folder.find_resume_point(tree).iteration == 30


def test_the_experiment_is_called_as_the_run_and_the_data_set_as_its_files(tmp_path, small_data):
    run = made_run(tmp_path / "seventh", which_set=None, data=str(small_data))
    convert(run.folder, tmp_path / "a")
    assert pickles.read(only_tree(tmp_path / "a").args) == original_argv(HP, "TONES", "seventh")
    convert(run.folder, tmp_path / "b", which_set="BLIZZ")
    assert results_folder.settings(only_tree(tmp_path / "b")).which_set == "BLIZZ"
    run = made_run(tmp_path / "eighth", which_set=None, data=str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match="is unknown; name it with --which_set"):
        convert(run.folder, tmp_path / "c")


def test_resumptions_are_logged_once_and_a_command_line_that_is_no_safe_name_is_not_used(tmp_path):
    run = made_run(tmp_path / "run", original_argv=["..", "--which_set", "MUSIC", "--dim", "4"])
    lines = run.log.read_text().splitlines()
    resume = json.dumps({"event": "resume", "iteration": 0})
    run.log.write_text("\n".join([resume, *lines[:5], resume, resume, *lines[5:], resume, '{"cut sh']))
    convert(run.folder, tmp_path / "theirs")
    assert results_folder.read_log(only_tree(tmp_path / "theirs"))[RESUMED] == [2, 3]
    assert pickles.read(only_tree(tmp_path / "theirs").args)[0] == "models/one_tier/one_tier.py"
    run.log.unlink()
    with pytest.raises(CheckpointError, match="No checkpoint of .*run belongs to an .* output FILE.pkl"):
        convert(run.folder, tmp_path / "without")
    assert not list((tmp_path / "without").rglob("args.pkl"))


def test_a_stored_command_line_is_replaced_if_it_differs(tmp_path):
    convert(TREES["one_tier"].folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    for path in (run.last, *run.last.parent.glob("i*")):  # the best is enough
        path.unlink()
    hp, stored = results_folder.settings(TREES["one_tier"]).hp, pickles.read(TREES["one_tier"].args)
    for k, (options, expected) in enumerate(
        [
            ({"exp": "CKPT"}, stored),
            ({"settings": ["batch_size=8"]}, original_argv(replace(hp, batch_size=8), "MUSIC", "CKPT")),
            ({"which_set": "BLIZZ", "exp": "other"}, original_argv(hp, "BLIZZ", "other")),
        ]
    ):
        convert(tmp_path / "run", tmp_path / str(k), **options)
        assert pickles.read(only_tree(tmp_path / str(k)).args) == expected


@pytest.mark.parametrize(
    ("hp", "message"),
    [
        (KTier(dim=4, emb_size=2, q_levels=8, seq_len=32, batch_size=2), "has no k_tier; choose one_tier"),
        (replace(HP, normalisation="absmax"), "has no --normalisation"),
        (replace(HP, q_levels=256, q_type="a-law"), "cannot compute --q_type a-law"),
    ],
)
def test_what_the_original_has_not_is_refused(tmp_path, hp, message):
    npz.save(tmp_path / "last.npz", Checkpoint(hp, initial(hp)))
    with pytest.raises(HyperParameterError, match=f"last.npz cannot be converted: .*{message}"):
        convert(tmp_path / "last.npz", tmp_path / "theirs.pkl")
    assert not (tmp_path / "theirs.pkl").exists()
    if isinstance(hp, OneTier):
        convert(tmp_path / "last.npz", tmp_path / "theirs.pkl", ["normalisation=min-max", "q_type=linear"])


@pytest.mark.parametrize("missing", ["train", "valid", "test", "epoch", "valid, which is null"])
def test_an_evaluation_of_a_damaged_log_is_named(tmp_path, missing):
    run = made_run(tmp_path / "run")
    name, null = missing.partition(",")[0], "null" in missing
    record = {
        "event": "monitor",
        "iteration": 34,
        "epoch": 0,
        "seconds": 9.0,
        "train": 2.0,
        "valid": 2.0,
        "test": 2.0,
    }
    record = record | {name: None} if null else {key: record[key] for key in record if key != name}
    run.log.write_text(run.log.read_text() + json.dumps(record) + "\n")
    with pytest.raises(CheckpointError, match=f"iteration 34 in .*log.jsonl has no {name}; remove its line"):
        convert(run.folder, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("original_argv", 5), ("original_argv", [1, 2]), ("original_argv", {})]
    + [(name, text) for name in ("exp", "which_set", "data") for text in ("\ud800", "a\0b")]
    + [("original_argv", ["two_tier.py", "\ud800"]), ("of_fork", 5), ("assumed", "rate")]
    + [("tensorboard", "False")],
)
def test_stored_settings_that_cannot_be_are_one_line(tmp_path, name, value):
    run = made_run(tmp_path / "run", **{name: value})
    with pytest.raises(CheckpointError, match=rf"npz cannot be read .* \((--)?{name} is .*[^.]\)\.$"):
        convert(run.folder, tmp_path / "theirs")


@pytest.mark.parametrize("name", ["Привет", "r\udcfcn", "a\nb"])
def test_a_name_that_the_original_cannot_hold_is_refused_with_the_remedy(tmp_path, name):
    run = made_run(tmp_path / "run")
    run = Run(run.folder.rename(tmp_path / name))
    with pytest.raises(HyperParameterError, match="cannot hold the name .*; give another one with --exp"):
        convert(run.folder, tmp_path / "theirs")
    with pytest.raises(HyperParameterError, match="with --which_set, or to the set's files NAME_train.npy"):
        convert(run.folder, tmp_path / "theirs", exp="x", which_set=name)
    convert(run.folder, tmp_path / "a.pkl")
    convert(run.folder, tmp_path / "theirs", exp="x")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Things of all kinds to convert."""
    folder = tmp_path_factory.mktemp("here")
    made_run(folder / "run")
    copied(folder, "one_tier")
    shutil.copy(results_folder.checkpoints(TREES["one_tier"])[0][1], folder / "theirs.pkl")
    convert(folder / "theirs.pkl", folder / "ours.npz")
    (folder / "other").mkdir()
    (folder / "other" / "file").touch()
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("missing new.npz", "missing does not exist"),
        ("ours.npz new.npz", "ours.npz is a checkpoint already; copy the file"),
        ("run new.npz", "best.npz is a checkpoint already"),
        ("theirs.pkl new.pkl", "theirs.pkl is a file of the original already"),
        ("TREE new.pkl", "best.pkl is a file of the original already"),
        ("theirs.pkl new", "one file, which cannot become a folder; name the output FILE.npz"),
        ("ours.npz new", "one file, which cannot become a folder"),
        ("other new", "other is neither a run folder .* nor a results folder"),
        ("other new.npz", "holds no parameters"),
        ("theirs.pkl ours.npz", "ours.npz exists; name another file, or give --overwrite"),
        ("ours.npz theirs.pkl", "theirs.pkl exists"),
        ("TREE run", "run holds a run; name another one, or give --overwrite"),
        ("TREE other --overwrite", "other holds other files; name an empty or new one"),
        ("TREE theirs --overwrite", "theirs holds other files"),
        ("TREE . --overwrite", "is the current folder"),
        ("TREE other/file --overwrite", "file is a file; name a folder"),
        ("theirs.pkl new.npz --exp x", "--exp has no effect on new.npz"),
        ("ours.npz new.pkl --which_set MUSIC", "--which_set has no effect on new.pkl"),
        ("theirs.pkl new.npz --set dim=8", "has shape .* this model needs"),
        ("theirs.pkl new.npz --set color=8", "cannot be read: unrecognized arguments: --color=8"),
        ("ours.npz new.pkl --set weight_norm=False", "parameters that this model lacks"),
        ("other/file new.npz", "file is damaged .*it ends too early."),
    ],
)
def test_what_cannot_be_converted_is_a_one_line_error_and_nothing_changes(
    here, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(here)
    before = {p: p.stat().st_mtime_ns for p in here.rglob("*")}
    tree = str(only_tree(here / "theirs").folder.relative_to(here))
    assert main(["convert", *(tree if word == "TREE" else word for word in words.split())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("samplernn: ")
    assert re.search(message, line), line
    assert {p: p.stat().st_mtime_ns for p in here.rglob("*")} == before


def test_overwrite_replaces_a_run(tmp_path):
    old = made_run(tmp_path / "run")
    convert(TREES["one_tier"].folder, old.folder, overwrite=True)
    assert npz.load(old.last).progress["iteration"] == 97
    assert not old.evaluation_checkpoint(30, 2.25).exists()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]

    run = made_run(tmp_path / "other")
    convert(run.folder, tmp_path / "theirs", exp="a")
    convert(run.folder, tmp_path / "theirs", exp="b")  # next to it
    trees = sorted((tmp_path / "theirs" / "results_1t").iterdir())
    with pytest.raises(OutputError, match="holds a run; name another one, or give --overwrite"):
        convert(run.folder, tmp_path / "theirs", exp="b")
    (trees[1] / "params" / "params_e0_i5_t0.00_tr4.0000_v4.0000.pkl").touch()
    convert(run.folder, tmp_path / "theirs", exp="b", overwrite=True)
    assert not (trees[1] / "params" / "params_e0_i5_t0.00_tr4.0000_v4.0000.pkl").exists()
    (trees[1] / "notes.txt").touch()
    with pytest.raises(OutputError, match="holds other files .notes.txt."):
        convert(run.folder, tmp_path / "theirs", exp="b", overwrite=True)
    (trees[1] / "notes.txt").unlink()
    assert sorted((tmp_path / "theirs" / "results_1t").iterdir()) == trees
    assert [p.name for p in (tmp_path / "theirs").iterdir()] == ["results_1t"]


def test_a_run_in_use_and_one_around_the_source_are_not_replaced(tmp_path):
    run = made_run(tmp_path / "run")
    before = run.last.read_bytes()
    with locked(run.folder), pytest.raises(OutputError, match="Another process works in"):
        convert(TREES["one_tier"].folder, run.folder, overwrite=True)
    name = TREES["one_tier"].folder.name
    inner = shutil.copytree(TREES["one_tier"].folder, run.folder / "results_1t" / name)
    with pytest.raises(OutputError, match="is in .*run, which would be replaced"):
        convert(inner, run.folder, overwrite=True)
    assert run.last.read_bytes() == before and inner.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "error", [OutputError("No disk space left."), OSError(28, "full"), KeyboardInterrupt()]
)
def test_a_failure_half_way_leaves_everything_as_it_was(tmp_path, monkeypatch, error):
    run = made_run(tmp_path / "run")
    (tmp_path / "theirs").mkdir()

    def fail(*_):
        raise error

    monkeypatch.setattr(plotting, "learning_curve", fail)  # nearly the last that is written
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")}
    for source, out in ((TREES["one_tier"].folder, run.folder), (run.folder, tmp_path / "theirs")):
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError):
            convert(source, out, overwrite=True)
        assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")} == before
        assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "theirs"]
        assert not any((tmp_path / "theirs").iterdir())


def test_a_run_that_cannot_be_replaced_at_the_last_moment_is_kept(tmp_path, monkeypatch):
    run = made_run(tmp_path / "run")
    before, replace_ = run.last.read_bytes(), os.replace

    def fail(source, path):
        if Path(path) == run.folder and ".part" in str(source) and Path(source).name == "run":
            raise OSError(5, "Input/output error")
        replace_(source, path)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="Could not write .*run: Input/output error"):
        convert(TREES["wavenet"].folder, run.folder, overwrite=True)
    assert run.last.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_parameters_that_do_not_fit_or_are_not_finite_are_refused(tmp_path):
    tree = copied(tmp_path, "one_tier")
    path = next(tree.params.glob("*_i80_*"))
    arrays = pickles.read(path)
    pickles.write(path, {name: a for name, a in arrays.items() if name != "SampleLevel.L2.b"})
    with pytest.raises(CheckpointError, match="i80.* has no parameter SampleLevel.L2.b"):
        convert(tree.folder, tmp_path / "run")
    pickles.write(path, arrays | {"SampleLevel.L2.b": arrays["SampleLevel.L2.b"] * np.float32("nan")})
    with pytest.raises(CheckpointError, match="SampleLevel.L2.b of .*i80.* not finite"):
        convert(tree.folder, tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["theirs"]
    assert load.read(next(tree.params.glob("*_i40_*"))).hp.dim == 16


def renamed(tree: ResultTree, *costs: str) -> list[Path]:
    """The files of parameters of a tree, the earliest first, with these validation costs in their names."""
    paths = [path for _, path in results_folder.checkpoints(tree)]
    names = [re.sub(r"_v.*", f"_v{cost}.pkl", path.name) for path, cost in zip(paths, costs, strict=True)]
    return [path.rename(path.with_name(name)) for path, name in zip(paths, names, strict=True)]


@pytest.mark.parametrize("bad", ["nan", "-nan", "inf", "-inf"])
@pytest.mark.parametrize("place", range(3))
def test_a_cost_that_is_not_finite_is_never_the_lowest(tmp_path, bad, place):
    costs = ["4.2500", "4.0000", "3.7500"]
    tree = copied(tmp_path, "two_tier")
    paths = renamed(tree, *costs[:place], bad, *costs[place + 1 :])
    assert load.read(tree.folder).path == paths[1 if place == 2 else 2]


def test_among_costs_that_are_not_finite_none_is_the_best(tmp_path):
    tree = copied(tmp_path, "two_tier")
    latest = renamed(tree, "nan", "inf", "nan")[-1]
    with pytest.raises(CheckpointError, match="costs .* NaN or infinite; name the file to open, .*_i97_"):
        load.read(tree.folder)
    log = results_folder.read_log(tree)
    pickles.write(tree.log, log | {"valid NLL (bits)": [math.nan, math.inf, math.nan]})
    assert "none is the best: all validation costs are NaN or infinite" in convert(
        tree.folder, tmp_path / "run"
    )
    assert not Run(tmp_path / "run").best.exists()
    assert np.array_equal(
        load.read(tmp_path / "run").parameters["SampleLevel.L2.b"],
        pickles.read(latest)["SampleLevel.L2.b"],
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_cost_of_the_log_that_is_not_finite_is_not_the_best(tmp_path, bad):
    tree = copied(tmp_path, "two_tier")
    log = results_folder.read_log(tree)
    log["valid NLL (bits)"][0] = log["lowest valid cost"][0] = bad
    pickles.write(tree.log, log)
    assert "the best is 97" in convert(tree.folder, tmp_path / "run")
    assert npz.load(Run(tmp_path / "run").best).progress["best_iteration"] == 97


def forked(
    folder: Path, script: str = "two_tier32k.py", which_set: str = "MUSIC", args: bool = True
) -> ResultTree:
    """A golden tree as a fork of the original would have written it."""
    tree = copied(folder, "two_tier")
    argv = pickles.read(tree.args)
    argv = [
        script if i == 0 else which_set if argv[i - 1] == "--which_set" else w for i, w in enumerate(argv)
    ]
    pickles.write(tree.args, argv)
    if not args:
        tree.args.unlink()
    return ResultTree(tree.folder.rename(tree.folder.with_name(tag(argv, "two_tier"))))


FORKS = [
    (("models/two_tier/two_tier32k.py",), "the script two_tier32k.py"),
    (("C:\\x\\two_tier32k.py",), "the script two_tier32k.py"),
    (("models/two_tier/two_tier.py", "my-set"), "the data set my-set"),
    (("two_tier_noise.py", "krgn"), "the script two_tier_noise.py and the data set krgn"),
]


@pytest.mark.parametrize("args", [True, False], ids=["args.pkl", "folder"])
@pytest.mark.parametrize(("changes", "shown"), FORKS)
def test_a_fork_is_known_by_its_script_or_set(tmp_path, changes, shown, args):
    folder = forked(tmp_path, *changes, args=args).folder
    model = load.read(folder)
    assert (model.of_fork, model.assumed) == (shown, ["normalisation", "rate"])
    assert f"{shown} is none of the original's" in inspect.describe(folder)
    description = score_report.describe_model(model)
    assert shown in description and "normalisation=min-max, rate=16000 (change them with --set" in description
    given = load.read(folder, ["normalisation=none", "rate=32000"])
    assert (given.hp.normalisation, given.hp.rate, given.assumed) == ("none", 32000, [])


def test_flags_of_a_fork_are_named(tmp_path, capsys):
    tree = forked(tmp_path)
    pickles.write(tree.args, [*pickles.read(tree.args), "--dropout", "0.5", "--fancy=1"])
    model = load.read(tree.folder)
    assert model.of_fork == "the script two_tier32k.py and the flag --dropout and the flag --fancy"
    assert main(["show", str(tree.folder)]) == 0
    assert "the script two_tier32k.py and the flag --dropout" in capsys.readouterr().out
    pickles.write(tree.args, ["two_tier.py", "--big_frame_size", "8"])
    with pytest.raises(CheckpointError, match="--big_frame_size is a flag of another model"):
        load.read(tree.folder)
    own = copied(tmp_path / "own", "two_tier")
    pickles.write(own.args, [*pickles.read(own.args), "--lr", "0.0005"])
    model = load.read(own.folder)
    assert (model.of_fork, model.assumed) == ("the flag --lr", ["normalisation", "rate"])
    assert main(["inspect", str(own.args)]) == 0
    assert "--lr is not a flag of the original" in capsys.readouterr().out


def test_the_originals_own_runs_and_ours_are_no_forks(tmp_path):
    for tree in TREES.values():
        assert not load.read(tree.folder).of_fork and not load.read(tree.folder).assumed
    run = made_run(tmp_path / "run", which_set="DEMO")
    convert(run.folder, tmp_path / "theirs")
    assert not load.read(only_tree(tmp_path / "theirs").folder).of_fork


def test_a_converted_model_of_a_fork_stays_one(tmp_path, capsys):
    tree = forked(tmp_path)
    path = next(tree.params.glob("*_i97_*"))
    with pytest.raises(
        CheckpointError, match="min-max and 16000.; give them: --set normalisation=... --set rate=..."
    ):
        convert(tree.folder, tmp_path / "run")
    assert "The script two_tier32k.py is none" in convert(path, tmp_path / "a.npz")
    assert set(load.read(tmp_path / "a.npz").assumed) == {"normalisation", "rate"}
    convert(tree.folder, tmp_path / "run", ["normalisation=none", "rate=32000"])
    model = load.read(tmp_path / "run")
    assert (model.hp.normalisation, model.hp.rate, model.assumed) == ("none", 32000, [])
    assert main(["show", str(tmp_path / "run")]) == 0
    assert "the script two_tier32k.py is none of the original's" in capsys.readouterr().out

    told = convert(tmp_path / "run", tmp_path / "back")  # as the fork's, which states its rate
    assert "two_tier32k.py is none" in told and "to be given with --set: normalisation=none" in told
    back = only_tree(tmp_path / "back")
    assert back.folder.name == tree.folder.name and pickles.read(back.args) == pickles.read(tree.args)
    model = load.read(back.folder)
    assert (model.of_fork, model.hp.rate, model.assumed) == (
        "the script two_tier32k.py and the rate 32000",
        32000,
        ["normalisation"],
    )
    told = convert(tmp_path / "a.npz", tmp_path / "a.pkl")
    assert "two_tier32k.py is none" in told and "Unknown hyper-parameters: rate, normalisation" in told
    told = convert(tmp_path / "run", tmp_path / "b.pkl")
    assert "to be given with --set: rate=32000, normalisation=none" in told


def test_resuming_a_fork_says_so(tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise OutputError("As far as here.")

    monkeypatch.setattr(training, "_compile", stop)
    monkeypatch.setattr(training.malloc, "keep_freed_memory", lambda _: None)
    folder, data = forked(tmp_path).folder, GOLDEN / "version_0.1.0/tones"
    given = ["--max-iters", "99", "--set", "normalisation=none", "--set", "rate=16000"]
    assert main(["resume", str(folder), "--data", str(data), *given]) == 2
    error = capsys.readouterr().err
    assert "It is a run of a fork: the script two_tier32k.py is none of the original's.\n" in error
    assert error.endswith("samplernn: As far as here.\n")


def test_a_fork_that_would_pass_for_the_original_is_not_written(tmp_path):
    tree = forked(tmp_path, "models/two_tier/two_tier.py", "my-set")
    convert(tree.folder, tmp_path / "run", ["normalisation=none", "rate=16000"])
    with pytest.raises(CheckpointError, match="of a fork, for the data set my-set .* OUT.pkl"):
        convert(tmp_path / "run", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_the_rate_in_model_settings_is_taken(tmp_path, capsys):
    tree = forked(tmp_path)
    text = tree.model_settings.read_text()
    tree.model_settings.write_text(re.sub(r"(BITRATE\s+)16000", r"\g<1>44100", text))
    model = load.read(tree.folder)
    assert (model.hp.rate, model.assumed) == (44100, ["normalisation"])
    assert "44,100 Hz" in score_report.describe_model(model)

    tree.args.unlink()
    folder = tree.folder.rename(tree.folder.with_name("mine"))
    model = load.read(folder)
    assert (model.hp.rate, model.of_fork, model.source) == (44100, "the rate 44100", "names and shapes")
    assert "rate" not in model.assumed and "normalisation" in model.assumed
    assert main(["show", str(folder)]) == 0
    assert "the rate 44100 is none of the original's" in capsys.readouterr().out


@pytest.mark.parametrize("stated", ["32000", "44100.0", "8000", "999", "0000", "999999", "nan", "32k"])
def test_a_rate_other_than_the_originals_shows_a_fork(tmp_path, stated):
    tree = copied(tmp_path, "two_tier")
    text = tree.model_settings.read_text()
    tree.model_settings.write_text(re.sub(r"(BITRATE\s+)16000", rf"\g<1>{stated}", text))
    settings = []
    if stated not in ("32000", "44100.0", "8000"):
        with pytest.raises(CheckpointError, match=f"model_settings.txt .*BITRATE {stated}, .*--set rate="):
            load.read(tree.folder)
        settings = ["rate=22050"]
    model = load.read(tree.folder, settings)
    assert (model.of_fork, model.assumed) == (f"the rate {stated}", ["normalisation"])
    assert model.hp.rate == (22050 if settings else int(float(stated)))


def test_what_a_fork_is_called_is_one_line(tmp_path):
    tree = copied(tmp_path, "two_tier")
    for name, shown in (("ok\nsamplernn: all is well", r"ok\nsamplernn: all is well"), ("", "''")):
        pickles.write(tree.args, [*pickles.read(tree.args)[:-1], name])
        assert load.read(tree.folder).of_fork == f"the data set {shown}"
    path = load.find(tree.folder)
    pickles.write(path, {**pickles.read(path), "a\nsamplernn: well": "x"})
    assert load.read(path).left_out == [r"a\nsamplernn: well"]


def test_more_than_five_layers(tmp_path):
    hp = TwoTier(dim=4, q_levels=8, n_rnn=7, frame_size=4, emb_size=4)
    arrays = initial(hp)
    assert "FrameLevel.GRU7.Step.Input.W0" in arrays
    pickles.write(tmp_path / "a.pkl", arrays)
    model = load.read(tmp_path / "a.pkl", ["n_frames=4"])
    assert model.hp.n_rnn == 7 and load.build(model).cost is not None


KILLED = """
import os, signal, sys
from samplernn_theano.checkpoints.convert import convert
left, (source, out, points, states) = 0, sys.argv[1:]
def killed(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for name in ("replace", "fsync", "mkdir", "unlink", "rmdir", "link"):
    setattr(os, name, killed(getattr(os, name)))
for point in eval(points):  # a process for each point at which to kill it
    child = os.fork()
    if not child:
        left = point
        try:
            convert(source, out, overwrite=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.system(f"cp -r {os.path.dirname(out)} {states}/{point}")
"""


@pytest.mark.parametrize(
    ("out", "points"),
    [
        *[("run", "range(0, 110, 20)"), ("a.npz", "range(0, 7, 2)"), ("a.pkl", "range(1, 7, 2)")],
        ("a.safetensors", "range(0, 16, 4)"),
    ],
)
def test_a_killed_conversion_leaves_nothing_that_the_next_one_does_not_clear(
    tmp_path, monkeypatch, out, points
):
    """Killed before operations on files, over an existing run."""
    monkeypatch.setattr(plotting, "learning_curve", lambda *_: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "left").mkdir()
    tree = copied(tmp_path, "one_tier")
    source = made_run(tmp_path / "source").folder if out == "a.pkl" else tree.folder
    if out == "run":
        made_run(tmp_path / "out" / out)
    arguments = [str(source), str(tmp_path / "out" / out), points, str(tmp_path / "left")]
    subprocess.run([sys.executable, "-c", KILLED, *arguments], check=True, capture_output=True)
    states = sorted((tmp_path / "left").iterdir())
    abandoned = [p for state in states for p in state.iterdir() if p.name != out]
    assert len(states) >= 3 and abandoned
    for state in states:
        convert(source, state / out, overwrite=True)  # those of several kills, one after the other
        names = ["README.md", out] if out == "a.safetensors" else [out]
        assert sorted(p.name for p in state.iterdir()) == names
        assert load.read(state / out).hp.family == "one_tier"


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    """Also one in another container, which may have the number of this process."""
    others = [tmp_path / f".convert.{os.getpid()}.part", tmp_path / f".a.{os.getpid()}.part.npz"]
    others[0].mkdir()
    others[1].touch()
    convert(next(TREES["one_tier"].params.glob("*_i97_*")), tmp_path / "a.npz")
    convert(TREES["one_tier"].folder, tmp_path / "run")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "a.npz", tmp_path / "run"])


def test_a_conversion_that_fails_leaves_no_folder(tmp_path):
    run = made_run(tmp_path / "run")
    about = {"progress": {"iteration": 7}, "settings": {"which_set": "MUSIC"}}
    for path in run.last.parent.iterdir():
        npz.save(path, Checkpoint(HP, initial(HP), **about))
    with pytest.raises(CheckpointError, match="belongs to an evaluation in its log"):
        convert(run.folder, tmp_path / "new" / "theirs")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_run_that_a_killed_conversion_was_replacing_comes_back(tmp_path):
    run = made_run(tmp_path / "run")
    run.folder.rename(tmp_path / ".run.replaced")
    with pytest.raises(OutputError, match="holds a run; name another one, or give --overwrite"):
        convert(TREES["one_tier"].folder, run.folder)
    assert npz.load(run.last).progress["iteration"] == 35
    shutil.copytree(run.folder, tmp_path / ".run.replaced")  # the new one was in place already
    convert(TREES["one_tier"].folder, run.folder, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["run"] and npz.load(run.last).progress["iteration"] == 97
