"""`samplernn reproduce --verify` scores the models of the package and compares with their cards."""

import json
import shutil
from dataclasses import replace

import pytest

from samplernn_theano.checkpoints import load, npz, pretrained
from samplernn_theano.cli.main import main
from samplernn_theano.data.dataset import split_path
from samplernn_theano.evaluation import nll
from samplernn_theano.utils.files import sha256

DEMO = {"set": "demo", "data_made_by": "samplernn data demo --everything"}


@pytest.fixture
def shipped(tmp_path, monkeypatch, small_data):
    """A package with one model, whose set is in `tmp_path`/sets/demo; its card, to be written."""
    model = load.read("pretrained/speech_two_tier", ["batch_size=2", "n_frames=8"])
    folder, data = tmp_path / "pretrained", tmp_path / "sets" / "demo"
    shutil.copytree(small_data, data)
    (data / "manifest.json").write_text("{}")
    folder.mkdir()
    npz.save(folder / "tones_two_tier.npz", replace(model.checkpoint, hp=model.hp))
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder / "tones_two_tier.json", data, model


def test_scores_are_compared_with_the_cards(shipped, tmp_path, capsys):
    path, data, model = shipped
    card = DEMO | {"test_split_sha256": sha256(split_path(data, "test"))}
    bits = nll.score_split(nll.compile_scorer(model), nll.load_clips(model, data, "test")).bits

    path.write_text(json.dumps(card | {"test": bits}))
    assert main(["reproduce", "--verify", "--out", str(tmp_path / "sets")]) == 0
    assert "All that were scored agree" in capsys.readouterr().out

    path.write_text(json.dumps(card | {"test": bits + 0.01, "test_split_sha256": "of another"}))
    assert main(["reproduce", "--verify", "--out", str(tmp_path / "sets")]) == 1
    out = capsys.readouterr().out
    assert "-0.0100" in out and "differs by more than 0.001 bits: the test split" in out


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["table1"], "EXPERIMENT"),
        (["--scale", "foo"], "--scale"),
        (["--data", "blizzard=/x"], "--data"),
        (["--max-iters", "5"], "--max-iters"),
        (["--seeds", "2"], "--seeds"),
        (["--dry-run"], "--dry-run"),
        (["--list"], "--list"),
    ],
)
def test_arguments_that_do_not_apply_are_refused(more, named, capsys):
    assert main(["reproduce", "--verify", *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--verify takes no {named}: " in line and "--out" in line


def test_a_set_that_cannot_be_had_is_said(shipped, tmp_path, capfd):
    path, data, model = shipped
    path.write_text(json.dumps(DEMO | {"test": 5.0, "test_split_sha256": ""}))
    shutil.copy(path, path.with_name("absent.json"))
    shutil.copy(path.with_suffix(".npz"), path.with_name("absent.npz"))
    command = f"samplernn data speech --source {tmp_path / 'nowhere'}"
    absent = {"set": "speech", "data_made_by": command, "test": 2.5}
    path.with_name("absent.json").write_text(json.dumps(absent))
    assert main(["reproduce", "--verify", "--out", str(tmp_path / "sets")]) == 1
    out, err = capfd.readouterr()
    assert "not scored" in out and "The set speech could not be made" in out and "nowhere" in err
    assert f"may be put in {tmp_path / 'sets' / 'speech'}." in out

    path.unlink()
    path.with_suffix(".npz").unlink()
    assert main(["reproduce", "--verify", "--out", str(tmp_path / "sets")]) == 2
    assert "Nothing can be scored" in capfd.readouterr().err
