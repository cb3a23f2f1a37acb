"""Descriptions of files, ours and the original's."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import inspect, npz
from samplernn_theano.checkpoints.npz import Checkpoint
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.errors import CheckpointError
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.original import pickles
from samplernn_theano.original.tags import RESULTS
from tests.conftest import GOLDEN


def tree(family: str) -> Path:
    (folder,) = (GOLDEN / "checkpoints" / RESULTS[family]).iterdir()
    return folder


def params(family: str) -> Path:
    return next((tree(family) / "params").glob("params_e1_i97_*"))


def row(text: str, name: str) -> list[str]:
    """The words of the one line that begins with `name`, without it."""
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line.split()[1:]


@pytest.mark.parametrize("family", RESULTS)
def test_a_checkpoint_of_the_originals(family):
    text = inspect.describe(params(family))
    assert f": {family} model of the original\n" in text
    assert "epoch 1, iteration 97, 0.00 h of training" in text and "the best so far" in text
    rate = "0.0001" if family == "wavenet" else "0.001"
    assert f"data set MUSIC, learning rate {rate}\n" in text
    assert row(text, "q_levels") == ["32", "args.pkl"]
    assert row(text, "normalisation") == ["min-max", "fixed", "in", "the", "original"]
    count = (tree(family) / "model_settings.txt").read_text().split()[-1]
    assert f"\n{int(count):,} parameters, " in text
    assert max(len(line) for line in text.splitlines()[3:]) <= 80


def test_the_table_of_parameters():
    text = inspect.describe(params("two_tier"))
    arrays = pickles.read(params("two_tier"))
    for name, array in arrays.items():
        shape, count, norm = row(text, name)
        assert shape == "x".join(map(str, array.shape))
        assert count == f"{array.size:,}" and float(norm) == pytest.approx(np.linalg.norm(array), rel=1e-3)
    assert "5,904 parameters, 5,904 of them trained" in text and "not trained" not in text


def test_the_original_does_not_train_its_independent_predictions():
    """Quirk."""
    text = inspect.describe(params("three_tier"))
    assert "IndependentPreds were never trained" in text
    assert "11,088 parameters, 6,480 of them trained\n* not trained" in text
    starred = [line.split()[0] for line in text.splitlines() if line.endswith(" *")]
    assert starred == [f"BigFrameLevel.IndependentPreds.{end}" for end in ("W0", "g0", "b")]


@pytest.mark.parametrize("end", ["b", "g0", "W0"])
def test_independent_predictions_that_were_trained(tmp_path, end):
    arrays = pickles.read(params("three_tier"))
    arrays[f"BigFrameLevel.IndependentPreds.{end}"] += np.float32(0.01)
    pickles.write(tmp_path / "p.pkl", arrays)
    text = inspect.describe(tmp_path / "p.pkl")
    assert "IndependentPreds were trained" in text and "11,088 of them trained" in text


def test_what_the_command_line_leaves_out_is_assumed_and_without_it_the_folders_name_is_read(tmp_path):
    folder = tmp_path / "results_2t" / tree("two_tier").name
    shutil.copytree(tree("two_tier"), folder)
    words = pickles.read(folder / "args.pkl")
    at = words.index("--batch_size")
    pickles.write(folder / "args.pkl", words[:at] + words[at + 2 :])
    text = inspect.describe(next((folder / "params").iterdir()))
    assert row(text, "batch_size") == ["128", "assumed", "(preset", "best)"]
    assert row(text, "dim") == ["16", "args.pkl"]
    (folder / "args.pkl").unlink()
    text = inspect.describe(next((folder / "params").iterdir()))
    assert row(text, "dim") == ["16", "the", "folder's", "name"]


def test_a_copy_of_a_file_has_its_iteration(tmp_path):
    for end in (" (1)", "(12)", " - Copy", " copy"):
        path = tmp_path / f"{params('two_tier').stem}{end}.pkl"
        shutil.copy(params("two_tier"), path)
        assert "epoch 1, iteration 97, 0.00 h of training" in inspect.describe(path)


def test_a_single_file_is_inferred_from_names_and_shapes(tmp_path):
    shutil.copy(params("three_tier"), tmp_path / "mine.pkl")
    text = inspect.describe(tmp_path / "mine.pkl")
    assert "The file name does not contain the iteration" in text and "Without args.pkl" in text
    assert row(text, "big_frame_size") == ["8", "names", "and", "shapes"]
    for name in ("batch_size", "seq_len", "q_type", "learn_h0"):
        assert row(text, name)[1:] == ["assumed", "(preset", "best)"]


def test_the_settings_of_a_checkpoint(tmp_path):
    settings = {"data": "/sets/music", "learning_rate": 0.002, "schedule": {"max_iters": 60}}
    settings |= {"versions": {"pytensor": "3.3.7", "jax": "0.11"}, "git_revision": None}
    hp = preset("one_tier", "tiny", {"learn_h0": False})
    arrays = build_graph(Parameters(123), hp).parameters.arrays()
    progress = {"iteration": 60, "epoch": 2, "seconds": 90.0, "best_valid": 4.25, "best_test": 4.125}
    progress["best_iteration"] = 40
    npz.save(tmp_path / "last.npz", Checkpoint(hp, arrays, progress=progress, settings=settings))
    text = inspect.describe(tmp_path / "last.npz")
    assert "last.npz: one_tier checkpoint\nepoch 2, iteration 60, 1.5 min of training\n" in text
    assert "best so far: valid 4.2500, test 4.1250 bits per sample at iteration 40" in text
    shown = {"data: /sets/music", "learning rate: 0.002", "versions: pytensor 3.3.7, jax 0.11"}
    assert shown <= set(text.splitlines())
    assert "git" not in text and "max_iters" not in text
    assert row(text, "learn_h0") == ["False", "the", "checkpoint"]
    assert row(text, "SampleLevel.h0")[-1] == "*" and "20,992 parameters, 20,960 of them trained" in text


TIERS = {
    "three_tier": ["BigFrameLevel frames of 8 samples (0.5 ms)", "FrameLevel frames of 2 samples (0.125 ms)"],
    "two_tier": ["FrameLevel frames of 16 samples (1 ms), 3 x GRU of 1024, weight norm"],
    "k_tier": ["BigFrameLevel2 frames of 16", "BigFrameLevel frames of 8", "FrameLevel frames of 2"],
    "one_tier": ["SampleLevel reads 1 sample (0.0625 ms) at each step, embedded in 256"],
    "wavenet": ["dilations 1 to 512", "receptive field 4,093 samples (255.8 ms)"],
    "samplernn_gmm": ["SampleLevel reads 16 samples, rescaled", "perceptron, mixture of 20 Gaussians"],
    "rnn_gmm": ["reads 1 sample (0.0625 ms) at each step", "mixture of 20 Gaussians"],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tiers_the_slowest_first(family):
    text = " ".join(" ".join([name, *lines]) for name, lines in inspect.tiers(FAMILIES[family]()).items())
    places = [text.index(words) for words in TIERS[family]]
    assert places == sorted(places)


def test_tiers_tell_layers_skips_and_ablations():
    def text(**changes) -> str:
        return str(inspect.tiers(FAMILIES["two_tier"](**changes)))

    assert "2 x LSTM of 8, skips, no weight norm" in text(
        n_rnn=2, rnn_type="LSTM", dim=8, skip_conn=True, weight_norm=False
    )
    assert "reads 16 samples as one-hot vectors" in text(emb_size=0)
    assert "reads 16 samples, rescaled" in text(sample_input="real")
    assert "reads no samples" in text(multi_softmax=True)


def test_a_missing_parameter_is_said_and_the_rest_shown(tmp_path):
    arrays = pickles.read(params("two_tier"))
    del arrays["SampleLevel.L3.b"]
    pickles.write(tmp_path / "p.pkl", arrays)
    text = inspect.describe(tmp_path / "p.pkl")
    assert [line for line in text.splitlines() if line.startswith("Does not fit:")][0].count("L3.b") == 1
    assert "5,888 parameters" in text and "of them trained" not in text
    assert row(text, "SampleLevel.L2.b")[:2] == ["16", "16"]


def test_values_that_are_not_finite_are_said_and_shown(tmp_path):
    arrays = pickles.read(params("two_tier"))
    arrays["FrameLevel.h0"][0, 0] = np.nan
    pickles.write(tmp_path / "p.pkl", arrays)
    npz.save(tmp_path / "p.npz", Checkpoint(PRESETS["two_tier"]["tiny"], arrays))
    for path in (tmp_path / "p.pkl", tmp_path / "p.npz"):
        text = inspect.describe(path)
        assert "FrameLevel.h0 of" in text.splitlines()[0] and "not finite" in text.splitlines()[0]
        assert row(text, "FrameLevel.h0") == ["2x16", "32", "nan"]


def test_other_files_are_refused(tmp_path):
    pickles.write(tmp_path / "number.pkl", 3)
    (tmp_path / "text.npz").write_text("hello")
    for name in ("number.pkl", "text.npz", "nosuch.pkl", "nosuch.npz", "."):
        with pytest.raises(CheckpointError, match=str(tmp_path)):
            inspect.describe(tmp_path / name)


def test_a_log_is_a_table_of_evaluations():
    text = inspect.describe(tree("three_tier") / "train_log.pkl")
    assert "the original's log, 3 evaluations" in text
    assert [line.split()[:7] for line in text.splitlines()[1:]] == [
        ["epoch", "iter", "train", "valid", "test", "lowest", "its"],
        ["0", "40", "5.8184", "5.2544", "5.2185", "5.2544", "5.2185"],
        ["0", "80", "5.0782", "4.9883", "4.9286", "4.9883", "4.9286"],
        ["1", "97", "4.9481", "4.9334", "4.8577", "4.9334", "4.8577"],
    ]
    assert max(map(len, text.splitlines())) <= 80


def test_a_log_of_unequal_lists_is_shown_as_far_as_it_goes(tmp_path):
    log = {"iter": [40, 80], "epoch": [0], "train time": [3600.0, 7200.0], "last resume index": [1]}
    pickles.write(tmp_path / "train_log.pkl", log)
    lines = inspect.describe(tmp_path / "train_log.pkl").splitlines()
    assert lines[1] == "resumed after evaluation 1"
    assert [line.split() for line in lines[3:]] == [["0", "40", "1.00"], ["-", "80", "2.00"]]


@pytest.mark.parametrize("family", RESULTS)
def test_a_command_line_is_of_its_family(family):
    """Also that of WaveNet, whose script lies in the folder of another family."""
    text = inspect.describe(tree(family) / "args.pkl")
    assert f"\n  {family} on the data set MUSIC: dim " in text and "is not a" not in text


def test_a_command_line_and_what_it_asks_for(tmp_path):
    text = inspect.describe(tree("one_tier") / "args.pkl")
    assert "  models/one_tier/one_tier.py --exp CKPT --seq_len 64" in text
    assert "  one_tier on the data set MUSIC: dim 16, batch_size 4" in text and "skip_conn True" in text
    for script, message in (("two_tier.py", "does not fit a two_tier model"), ("train.py", "not a script")):
        pickles.write(tmp_path / "args.pkl", [script, "--dim", "x"])
        text = inspect.describe(tmp_path / "args.pkl")
        assert f"{script} --dim x" in text and message in text


def test_a_result_tree_and_one_without_parameters(tmp_path):
    text = inspect.describe(tree("wavenet"))
    places = [text.index(w) for w in ("args.pkl: a command", "train_log.pkl: the", "params_e1_i97_t0.00")]
    assert places == sorted(places) and text.startswith(f"{tree('wavenet')}:\n")
    (tmp_path / "params").mkdir()
    shutil.copy(tree("wavenet") / "train_log.pkl", tmp_path)
    text = inspect.describe(tmp_path)
    assert "3 evaluations" in text and "holds no parameters" in text


def test_a_hostile_pickle_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.pkl").write_bytes(b'c__builtin__\neval\n(S\'open("marker", "w")\'\ntR.')
    assert main(["inspect", "params.pkl"]) == 2
    output = capsys.readouterr()
    assert "eval" in output.err and output.err.count("\n") == 1 and output.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["params.pkl"]


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path, capsys):
    pickles.write(tmp_path / "args.pkl", ["x.py", "\x1b[2J\n"])
    pickles.write(tmp_path / "p.pkl", {"\x1b[31mname": np.ones(1, np.float32)})
    for name in ("args.pkl", "p.pkl"):
        assert main(["inspect", str(tmp_path / name)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and r"\x1b[2J\n" in out and r"\x1b[31mname" in out


def test_entries_that_are_no_arrays_are_left_out_and_named(tmp_path):
    arrays = pickles.read(params("two_tier"))
    pickles.write(tmp_path / "p.pkl", arrays | {"note": "best", "costs": [1.0, 2.0], "epoch": 3})
    text = inspect.describe(tmp_path / "p.pkl")
    assert "Left out, because they are no arrays: note, costs, epoch." in text
    assert "5,904 parameters, 5,904 of them trained" in text
    pickles.write(tmp_path / "p.pkl", {"params": {"W": arrays["SampleLevel.L2.b"]}, "epoch": 3})
    with pytest.raises(CheckpointError, match="'params' is of type dict, 'epoch' is of type int"):
        inspect.describe(tmp_path / "p.pkl")
    pickles.write(tmp_path / "p.pkl", list(arrays.values()))
    with pytest.raises(CheckpointError, match="holds a list, not a dictionary of arrays by name"):
        inspect.describe(tmp_path / "p.pkl")


@pytest.mark.parametrize("suffix", [".pickle", ".PKL", ""])
def test_the_content_of_a_file_decides_not_its_suffix(tmp_path, suffix):
    shutil.copy(params("two_tier"), tmp_path / f"mine{suffix}")
    assert "two_tier model of the original" in inspect.describe(tmp_path / f"mine{suffix}")
    npz.save(tmp_path / "a.npz", Checkpoint(PRESETS["two_tier"]["tiny"], {"W": np.ones(1, np.float32)}))
    (tmp_path / "a.npz").rename(tmp_path / f"ours{suffix}")
    assert "two_tier checkpoint" in inspect.describe(tmp_path / f"ours{suffix}")
