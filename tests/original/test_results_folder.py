"""The original's results folders: what stands in them, how a run goes on in one, and ours in their layout."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import load
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.original import model_settings, pickles, results_folder
from samplernn_theano.original.results_folder import LOG_KEYS, RESUMED, ResultTree
from samplernn_theano.original.tags import Settings, original_argv, params_name, read_params_name, tag
from tests.conftest import GOLDEN

TREES = {
    results_folder.family_of(ResultTree(args.parent)): ResultTree(args.parent)
    for args in sorted((GOLDEN / "checkpoints").glob("results_*/*/args.pkl"))
}
ANSWERS = json.loads((GOLDEN / "checkpoints" / "resume.json").read_text())

each_family = pytest.mark.parametrize("family", ["one_tier", "two_tier", "three_tier", "wavenet"])
CHANGES = ["intact", "intact_no_counter", "without_i97", "without_i97_i80", "none", "duplicate_i97"]


def empty_tree(folder: Path, log: dict, names: list[str]) -> ResultTree:
    """A tree with this log and empty files of parameters, each a second newer than the one before."""
    tree = ResultTree(folder / "results_1t" / "run")
    tree.params.mkdir(parents=True)
    pickles.write(tree.log, log)
    for k, name in enumerate(names):
        (tree.params / name).touch()
        os.utime(tree.params / name, (1_000 + k, 1_000 + k))
    return tree


def evaluations(*evaluations: tuple[int, int]) -> dict:
    """A log of evaluations at these epochs and iterations."""
    log = {key: [float(k) for k in range(len(evaluations))] for key in LOG_KEYS}
    return log | {"epoch": [epoch for epoch, _ in evaluations], "iter": [i for _, i in evaluations]}


def named(epoch: int, iteration: int) -> str:
    return params_name(epoch, iteration, 0.0, 5.0, 5.0)


def changed_tree(folder: Path, family: str, change: str) -> ResultTree:
    """A copy of a golden tree with files of parameters added or taken away."""
    golden, answer = TREES[family], ANSWERS[f"{family}/{change}"]
    names = [path.name for _, path in results_folder.checkpoints(golden)]
    gone = {"without_i97": ["_i97_"], "without_i97_i80": ["_i97_", "_i80_"], "none": ["_i"]}.get(change, [])
    names = [name for name in names if not any(part in name for part in gone)]
    if change == "duplicate_i97":  # in what order the two were written is unknown; the answer names the newer
        newer = answer["res_path"]
        names = [*names[:2], *{"params_e1_i97_older_best.pkl", *names[2:]} - {newer}, newer]
    return empty_tree(folder, pickles.read(golden.log), names)


@each_family
def test_the_log_is_plain_numbers_under_the_keys_of_the_original(family):
    log = results_folder.read_log(TREES[family])
    assert set(log) == set(LOG_KEYS) and "correponding test cost" in log  # Quirk: misspelt
    assert log["iter"] == [40, 80, 97] and log["epoch"] == [0, 0, 1]
    assert {type(value) for values in log.values() for value in values} == {int, float}
    golden = ANSWERS[f"{family}/none"]["train_log_after"]
    assert log == golden


@each_family
def test_settings_are_read_from_the_command_line_or_the_folder(family, tmp_path, monkeypatch):
    tree = TREES[family]
    settings = results_folder.settings(tree)
    dim = 8 if family == "wavenet" else 16
    assert (settings.hp.family, settings.hp.dim, settings.hp.q_levels) == (family, dim, 32)
    assert settings.which_set == "MUSIC"
    assert settings.learning_rate == (0.0001 if family == "wavenet" else 0.001)

    bare = ResultTree(tmp_path / tree.folder.parent.name / tree.folder.name)
    bare.folder.mkdir(parents=True)
    monkeypatch.chdir(bare.folder)
    assert results_folder.settings(bare) == results_folder.settings(ResultTree(".")) == settings


def test_a_tree_that_was_moved_is_known_by_its_name_or_by_its_command_line(tmp_path):
    for family, tree in TREES.items():
        by_name = tmp_path / "moved" / tree.folder.name
        by_name.mkdir(parents=True)
        assert results_folder.family_of(ResultTree(by_name)) == family
        by_args = tmp_path / "renamed" / family[::-1]
        by_args.mkdir(parents=True)
        shutil.copy(tree.args, by_args)
        assert results_folder.settings(ResultTree(by_args)) == results_folder.settings(tree)
    with pytest.raises(CheckpointError, match="is unknown; move it into a folder named results_1t, "):
        results_folder.family_of(ResultTree(tmp_path))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([1, 2], "is not a dictionary of lists"),
        ({"iter": 3}, "is not a dictionary of lists"),
        ({"iter": [3]}, "has no 'epoch'"),
        (evaluations((0, 3)) | {"iter": []}, "differ in length"),
        (evaluations((0, 3)) | {"train time": ["x"]}, "'train time' holds 'x', no time."),
        (evaluations((0, 3)) | {"train time": [np.nan]}, "'train time' holds nan, no time."),
        (evaluations((0, 3)) | {"wall clock time": [-1.0]}, "'wall clock time' holds -1.0, no time."),
        (evaluations((0, 3)) | {"iter": [3.5]}, "'iter' holds 3.5, no count."),
        (evaluations((0, 3)) | {"epoch": [-1]}, "'epoch' holds -1, no count."),
        (evaluations((0, 3)) | {"epoch": [True]}, "'epoch' holds True, no count."),
        (evaluations((0, 3)) | {"test NLL (bits)": [2**63 - 1, 2**62]}, "differ in length"),
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path, log, message):
    tree = empty_tree(tmp_path, log, [])
    for read in (results_folder.read_log, results_folder.find_resume_point):
        with pytest.raises(CheckpointError, match=f"train_log.pkl .*{message}"):
            read(tree)


@pytest.mark.parametrize("argv", [[], ["x", 3], {"argv": "x"}, pickles.read(TREES["wavenet"].args)])
def test_a_command_line_that_is_none_or_of_another_family_is_refused(tmp_path, argv):
    tree = empty_tree(tmp_path, evaluations(), [])
    pickles.write(tree.args, argv)
    with pytest.raises(CheckpointError, match=r"args.pkl (holds no command line|does not fit a one_tier)"):
        results_folder.settings(tree)


@each_family
@pytest.mark.parametrize("change", CHANGES)
def test_resuming_answers_as_the_original(tmp_path, family, change):
    tree, golden = changed_tree(tmp_path, family, change), ANSWERS[f"{family}/{change}"]
    before = results_folder.read_log(tree)
    if "error" in golden:
        with pytest.raises(CheckpointError, match="No file in .*params belongs to an evaluation"):
            results_folder.find_resume_point(tree)
        assert before == golden["train_log_after"]
        return
    resume = results_folder.find_resume_point(tree, count=change != "intact_no_counter")
    assert results_folder.read_log(tree) == before  # nothing is changed yet
    assert resume.params == tree.params / golden["res_path"]
    assert (resume.epoch, resume.iteration) == (golden["epoch"], golden["iter"])
    assert resume.to_skip == golden["iters_to_consume"]
    costs = ("lowest valid cost", "correponding test cost", "test NLL (bits)")
    assert [resume.log[key][-1] for key in costs] == golden["other"]
    assert resume.backup == golden["backup_written"]

    results_folder.apply_resume_point(tree, resume)
    assert results_folder.read_log(tree) == golden["train_log_after"]
    kept = [path for path in tree.folder.glob("train_log_*")]
    assert [path.name for path in kept] == ["train_log_i97.pkl"] * golden["backup_written"]
    assert all(pickles.read(path) == before for path in kept)

    again = results_folder.find_resume_point(tree)  # the same place, counted once
    results_folder.apply_resume_point(tree, again)
    assert again[1:3] == (golden["iter"], golden["iters_to_consume"]) and not again.backup
    assert results_folder.read_log(tree)[RESUMED] == [len(golden["train_log_after"]["iter"])]


def test_later_resumes_are_counted_too_and_dropped_with_their_evaluations(tmp_path):
    log = evaluations((0, 40), (0, 80), (1, 97)) | {RESUMED: [1]}
    tree = empty_tree(tmp_path, log, [named(0, 40), named(0, 80), named(1, 97)])
    assert results_folder.find_resume_point(tree).log[RESUMED] == [1, 3]
    (tree.params / named(1, 97)).unlink()
    assert results_folder.find_resume_point(tree).log[RESUMED] == [1, 2]
    (tree.params / named(0, 80)).unlink()
    assert results_folder.find_resume_point(tree, count=False).log == {
        key: values[:1] for key, values in evaluations((0, 40)).items()
    }


def test_the_minibatches_to_skip_are_those_of_the_epoch(tmp_path):
    """An epoch of 96 minibatches; each later one begins with a look after its first minibatch."""
    log = evaluations((0, 40), (0, 80), (1, 97), (1, 137), (2, 193), (2, 233))
    names = [named(0, 80), named(1, 97), named(1, 137), named(2, 193), named(2, 233)]
    tree = empty_tree(tmp_path, log, names)
    for skipped in (41, 1, 41, 1, 80):
        resume = results_folder.find_resume_point(tree)
        assert resume.to_skip == skipped == resume.iteration - 96 * resume.epoch
        resume.params.unlink()


def test_iteration_4_also_finds_40(tmp_path):
    """Quirk: two files are found for iteration 4, so that look is given up and the newer file kept."""
    tree = empty_tree(tmp_path, evaluations((0, 2), (0, 4)), [named(0, 2), named(0, 4), named(0, 40)])
    resume = results_folder.find_resume_point(tree)
    assert (resume.iteration, resume.params.name, resume.backup) == (2, named(0, 40), True)

    os.utime(tree.params / named(0, 4), (2_000, 2_000))
    assert results_folder.find_resume_point(tree).params.name == named(0, 4)

    (tree.params / named(0, 4)).unlink()  # then 40 is taken for it
    resume = results_folder.find_resume_point(tree)
    assert (resume.iteration, resume.params.name, resume.backup) == (4, named(0, 40), False)


COPIES = " (1)|(1)| - Copy (2)| copy 2| (another copy)| (3rd copy)| - Kopie| (Kopie)| - copie|_1| [1]|~1"


@pytest.mark.parametrize("end", [*(f"{copy}.pkl" for copy in COPIES.split("|")), ".PKL", ".pickle"])
def test_copies_of_any_system_are_read_and_are_no_further_evaluations(tmp_path, end):
    tree = empty_tree(tmp_path, evaluations((0, 2), (0, 4)), [named(0, 2), named(0, 4)])
    own = tree.params / named(0, 4)
    copy = Path(shutil.copy(own, own.with_name(own.stem + end)))
    resume = results_folder.find_resume_point(tree)
    assert resume.iteration == 4 and resume.params in (own, copy) and not resume.backup
    copy.write_text("other")
    with pytest.raises(CheckpointError, match="is another file than params_e0_i4_.*keep only one"):
        results_folder.find_resume_point(tree)
    own.unlink()
    assert results_folder.checkpoints(tree)[-1] == (read_params_name(own.name), copy)
    assert load.find(tree.folder) == tree.params / named(0, 2)  # of equal costs the earlier


@pytest.mark.parametrize("end", [".part", ".bak", "~", ".1", ".crdownload"])
def test_other_files_beside_parameters_are_left_out_and_alone_they_are_refused(tmp_path, end):
    tree = empty_tree(tmp_path, evaluations((0, 2), (0, 4)), [named(0, 2), named(0, 4)])
    own = tree.params / named(0, 4)
    shutil.copy(own, f"{own}{end}")
    assert results_folder.find_resume_point(tree).params == own
    own.unlink()
    for read in (results_folder.find_resume_point, lambda tree: load.find(tree.folder)):
        with pytest.raises(CheckpointError, match="would be left out, .*; rename it, move it away, or name"):
            read(tree)


def test_a_log_without_a_single_evaluation_with_one_file_cannot_be_resumed(tmp_path):
    tree = empty_tree(tmp_path, evaluations((0, 4)), [named(0, 4), named(0, 40)])
    with pytest.raises(CheckpointError, match="belong to the first evaluation .* keep only one"):
        results_folder.find_resume_point(tree)
    pickles.write(tree.log, evaluations())
    with pytest.raises(CheckpointError, match="belongs to an evaluation"):
        results_folder.find_resume_point(tree)
    tree.log.unlink()
    with pytest.raises(CheckpointError, match="train_log.pkl"):
        results_folder.find_resume_point(tree)


@each_family
def test_model_settings_are_those_of_the_original_but_for_the_versions(family):
    tree = TREES[family]
    shapes = {name: shape for name, (shape, _, _) in ANSWERS[f"{family}/i97_params"].items()}
    schedule = {"N_SEQS": 2, "PRINT_ITERS": 40, "PRINT_TIME": 5400, "STOP_ITERS": 110, "TRAIN_MODE": "iters"}
    schedule["STOP_TIME"] = 216000 if family == "wavenet" else 259200
    settings, argv = results_folder.settings(tree), pickles.read(tree.args)
    ours = model_settings.text(tree.folder, argv, settings, schedule, shapes).split("All passed args:")
    golden = tree.model_settings.read_text().split("All passed args:")
    assert ours[1] == golden[1]
    heads = [[line for line in text[0].splitlines() if line[:1] != "\t"] for text in (ours, golden)]
    assert heads[0] == ["PyTensor:" if line == "Theano:" else line for line in heads[1]]


@each_family
def test_our_own_command_lines_and_learning_rates_come_back_from_the_tree(tmp_path, family):
    hp = FAMILIES[family]()
    argv = original_argv(hp, "BLIZZ", "mine")
    tree = results_folder.results_tree(tmp_path, family, argv, 0.01)
    results_folder.create(tree, argv, "")
    rate = 0.0001 if family == "wavenet" else 0.01  # Quirk: wavenet's tag does not say it
    assert results_folder.settings(tree) == Settings(hp, "BLIZZ", rate)
    tree.args.unlink()
    assert results_folder.settings(tree) == Settings(hp, "BLIZZ", rate)


def test_a_log_that_cannot_be_kept_is_not_changed(tmp_path):
    tree = empty_tree(tmp_path, evaluations((0, 2), (0, 5)), [named(0, 2)])
    before = tree.log.read_bytes()
    (tree.folder / "train_log_i5.pkl").mkdir()  # where the copy would be written
    with pytest.raises(OutputError):
        results_folder.apply_resume_point(tree, results_folder.find_resume_point(tree))
    assert tree.log.read_bytes() == before


def test_params_names_are_read_as_they_are_written():
    name = params_name(1, 97, 0.004, 4.96871, 4.93338, True)
    assert name == "params_e1_i97_t0.00_tr4.9687_v4.9334_best.pkl"
    name = params_name(12, 250000, 71.996, 1.0, -1.1)
    assert name == "params_e12_i250000_t72.00_tr1.0000_v-1.1000.pkl"
    assert read_params_name(name) == (12, 250000, 72.0, 1.0, -1.1, False)
    broken = read_params_name(params_name(0, 1, 0.0, float("nan"), float("inf"), True))
    assert np.isnan(broken.train) and broken.valid == float("inf") and broken.best
    for other in ("params_e0_i1.pkl", "params_e0_i1_t0.00_tr1.0000_v1.0000.pkl.part", "x", ""):
        assert read_params_name(other) is None


def test_every_golden_tag(cases):
    for family, tree in TREES.items():
        assert tag(pickles.read(tree.args), family) == tree.folder.name
    golden = [json.loads(path.read_text()) for path in cases.glob("*.json")]
    assert (len(TREES), len(golden)) == (4, 13)
    for case in golden:
        stem = Path(case["argv"][0]).stem
        assert tag(case["argv"], "wavenet" if stem == "wavent" else stem) == case["tag"]


def test_huge_numbers_in_a_log_are_refused_with_its_name_and_shown(tmp_path, capsys):
    for key in ("train NLL (bits)", "lowest valid cost", "train time", "iter"):
        tree = ResultTree(shutil.copytree(TREES["two_tier"].folder, tmp_path / key / "results_2t" / "run"))
        log = pickles.read(tree.log)
        log[key][-1] = 2**2000
        tree.log.write_bytes(pickle.dumps(log, 2))
        for command in (["show"], ["convert", str(tmp_path / "out")], ["resume", "--data", str(tmp_path)]):
            assert main([command[0], str(tree.folder), *command[1:]]) == 2
            error = capsys.readouterr().err
            assert f"train_log.pkl is damaged: {key!r} holds 1148" in error and len(error) < 800
        assert main(["inspect", str(tree.log)]) == 0
        assert "..." in capsys.readouterr().out
