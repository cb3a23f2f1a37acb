"""`train --config settings.json` repeats a run; flags on the command line win."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz
from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.cli.main import main
from samplernn_theano.config.presets import preset
from samplernn_theano.data.dataset import load_split, statistics
from samplernn_theano.original import results_folder
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.training.run import settings_to_repeat
from tests.training.conftest import assert_same, evaluations, log

MODEL = "--preset tiny --dim 16 --emb_size 8 --q_levels 32".split()
FLAGS = "--learning-rate 0.002 --seed 5 --n_seqs 0".split()
LIMITS = "--max-iters 6 --monitor-iters 4 --save-minutes 0.5".split()


def command(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # errors of argparse
        return int(stop.code or 0)


def settings(folder: Path) -> dict:
    return json.loads(Run(folder).settings.read_text())


@pytest.fixture(scope="module")
def first(small_data, tmp_path_factory) -> Path:
    """A run that all tests repeat."""
    folder = tmp_path_factory.mktemp("first") / "run"
    train = ("train", "one_tier", "--data", small_data, "--run", folder, *MODEL, *FLAGS, *LIMITS)
    assert command(*train) == 0
    return folder


@pytest.mark.parametrize("name", ["settings.json", ""])
def test_a_repeated_run_is_the_same(first, tmp_path, name):
    assert command("train", "--config", first / name, "--run", tmp_path / "run") == 0
    assert_same(first, tmp_path / "run")
    assert evaluations(first) == evaluations(tmp_path / "run")
    before, after = (log(run, "train")[-1]["nll_bits"] for run in (first, tmp_path / "run"))
    assert before == after and len(evaluations(first)) == 2
    before, after = settings(first), settings(tmp_path / "run")
    assert after.pop("command").startswith("samplernn train --config ") and before.pop("command")
    assert before == after


def test_flags_win(first, tmp_path):
    """A limit replaces all limits of the run, as when it is resumed."""
    flags = "--emb_size 16 --q_levels 256 --max-epochs 1 --learning-rate 0.01 --seed 7 --keep 2".split()
    assert command("train", f"--config={first / 'settings.json'}", "--run", tmp_path / "run", *flags) == 0
    before, after = settings(first), settings(tmp_path / "run")
    before["hyperparameters"] |= {"emb_size": 16, "q_levels": 256}
    before["schedule"] |= {"max_iters": None, "max_epochs": 1, "learning_rate": 0.01, "keep": 2}
    before |= {"seed": 7, "command": after["command"]}
    assert before == after
    assert npz.load(Run(tmp_path / "run").last).progress["iteration"] == 32  # 2 batches of 16 chunks


def test_the_family_may_be_given_too(first, tmp_path, capsys):
    words = ("--config", first / "settings.json", "--run", tmp_path / "run", "--max-iters", 1)
    assert command("train", "one_tier", *words) == 0
    assert command("train", "two_tier", *words) == 2
    assert "settings.json is of a one_tier model, not of two_tier" in capsys.readouterr().err


def test_the_old_run_is_neither_overwritten_nor_resumed(first, capsys):
    last = Run(first).last.read_bytes()
    assert command("train", "--config", first / "settings.json", "--run", first, "--max-iters", 9) == 2
    assert "holds a run; resume it with" in capsys.readouterr().err
    assert command("train", "--config", first / "settings.json") == 2
    assert "repeats a run in another folder; name it with --run" in capsys.readouterr().err
    assert Run(first).last.read_bytes() == last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nowhere.json"], "nowhere.json cannot be read: No such file"),
        (["--config"], "--config: expected one argument"),
        (["--config", "SETTINGS", "--preset", "small"], "leave --preset out"),
        (["--config", "SETTINGS", "--frame_sizes", "8/2"], "unrecognized arguments: --frame_sizes 8/2"),
        (["--config", "SETTINGS", "--emb_size", "0"], "--emb_size is 0"),
        (["--config", "UNKNOWN"], "unrecognized arguments: --novelty=1"),
        (["two_tier"], "Name the folder of a data set with --data"),
        (["four_tier", "--config", "SETTINGS"], "invalid choice: 'four_tier'"),
    ],
)
def test_errors_are_one_line(first, tmp_path, capsys, arguments, message):
    unknown = tmp_path / "unknown.json"
    unknown.write_text(json.dumps(settings(first) | {"hyperparameters": {"novelty": 1}}))
    paths = {"SETTINGS": str(first / "settings.json"), "UNKNOWN": str(unknown)}
    words = [paths.get(argument, argument) for argument in arguments]
    assert command("train", *words, "--run", tmp_path / "run") == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / "run").exists()


# --- its data -----------------------------------------------------------------------------------------------


def test_a_data_set_that_was_moved_or_changed(first, small_data, tmp_path, capsys):
    gone, path = tmp_path / "gone", tmp_path / "settings.json"
    words = ("train", "--config", path, "--run", tmp_path / "run")
    path.write_text(json.dumps(settings(first) | {"data": str(gone)}))
    assert command(*words) == 2
    assert f"{gone}, which is not there; give its folder with --data" in capsys.readouterr().err
    clips = np.load(shutil.copytree(small_data, gone) / "tones_valid.npy")
    clips[0, 0] += 0.25
    np.save(gone / "tones_valid.npy", clips)
    assert command(*words) == 2
    assert "The valid split in" in (error := capsys.readouterr().err) and "--data" in error
    assert not (tmp_path / "run").exists()
    assert command(*words, "--data", shutil.copytree(small_data, tmp_path / "present")) == 0
    assert_same(first, tmp_path / "run")
    assert command(*words[:4], tmp_path / "other", "--data", gone) == 0  # other data, if they are asked for
    assert evaluations(tmp_path / "other")[-1]["valid"] != evaluations(first)[-1]["valid"]


def test_statistics_belong_to_the_clips(first, small_data, data, tmp_path):
    """Those of a real-valued model are measured again on other clips, unless they are given."""
    a, b, moved = tmp_path / "a.json", tmp_path / "b", shutil.copytree(small_data, tmp_path / "moved")
    hp = preset("rnn_gmm", "tiny", {"mean": 0.25, "std": 0.5})
    a.write_text(json.dumps(settings(first) | {"family": "rnn_gmm", "hyperparameters": asdict(hp)}))
    hp = settings_to_repeat(a, moved).hp
    assert (hp.mean, hp.std) == (0.25, 0.5)  # the given ones, for the clips are the same
    assert command("train", "--config", a, "--run", b, "--data", data, "--max-iters", 1) == 0
    measured = tuple(settings(b)["hyperparameters"][name] for name in ("mean", "std"))
    assert measured == statistics(load_split(data, "train"))
    assert asdict(settings_to_repeat(b, None).hp) == settings(b)["hyperparameters"] | {"rate": 16000}


# --- other layouts and versions -----------------------------------------------------------------------------


def test_the_layout_of_the_original_is_repeated(small_data, tmp_path):
    a, b = tmp_path / "results_1t" / "a", tmp_path / "results_1t" / "b"
    flags = *MODEL, *"--n_seqs 0 --exp mine --original-layout".split()
    assert command("train", "one_tier", "--data", small_data, "--run", a, *flags, "--max-iters", 2) == 0
    assert command("train", "--config", a, "--run", b) == 0
    first, second = (results_folder.settings(ResultTree(folder)) for folder in (a, b))
    assert first == second and settings(b)["exp"] == "mine"
    assert len(list(ResultTree(b).params.iterdir())) == 1
    assert_same(a, b)
