"""The models that come with the package: a name is enough to hear, score, inspect and convert them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import load, pretrained
from samplernn_theano.cli.main import main
from samplernn_theano.errors import CheckpointError

NAMES = pretrained.names()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_what_its_card_says_without_paths_of_a_machine(name):
    model, card = load.read(f"pretrained/{name}"), pretrained.card(name)
    load.build(model)
    assert model.hp.family == card["family"] and name == f"{card['title'].split()[-1]}_{card['family']}"
    assert model.checkpoint.progress["iteration"] >= card["updates"]
    assert not model.checkpoint.adam and not model.checkpoint.states
    assert "/" not in json.dumps(dict(model.checkpoint.settings))
    assert card["test"] < 4 and card["licence_of_the_data"] and card["revision"]
    assert card["licence"] in ("cc-by-sa-3.0", "mit")
    assert f"dim {model.hp.dim} in place of" in card["known_differences"]


def test_they_are_listed_with_their_scores(capsys):
    assert NAMES
    assert main(["pretrained"]) == 0
    out = capsys.readouterr().out
    for name in NAMES:
        assert f"pretrained/{name}" in out and f"{pretrained.card(name)['test']:.3f}" in out


def test_commands_on_runs_say_at_once_that_it_is_none(capsys):
    assert main(["show", f"pretrained/{NAMES[0]}"]) == 2
    assert f"samplernn pretrained {NAMES[0]} shows its card" in capsys.readouterr().err
    assert main(["evaluate", f"pretrained/{NAMES[0]}", "--data", "none", "--kept"]) == 2
    said = capsys.readouterr()
    assert f"pretrained/{NAMES[0]} is no run with checkpoints" in said.err and not said.out


@pytest.mark.parametrize("prefix", ["", "pretrained/"])
def test_a_card_names_data_licence_command_and_score(capsys, prefix):
    assert main(["pretrained", prefix + NAMES[0]]) == 0
    out, card = capsys.readouterr().out, pretrained.card(NAMES[0])
    for what in (card["data"], card["licence_of_the_data"], card["trained_by"], str(card["test"])):
        assert what in out


def test_sounds_go_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", f"pretrained/{NAMES[0]}", "--seconds", "0.2", "--n_seqs", "1"]) == 0
    (sound,) = tmp_path.glob("samples/*.wav")
    assert sound.name.startswith(NAMES[0])


def test_they_convert_to_files_of_the_original_and_are_inspected(tmp_path, capsys):
    assert main(["convert", f"pretrained/{NAMES[0]}", str(tmp_path / "theirs.pkl")]) == 0
    ours, theirs = load.read(f"pretrained/{NAMES[0]}"), load.read(tmp_path / "theirs.pkl")
    assert all(np.array_equal(ours.parameters[own], theirs.parameters[own]) for own in ours.parameters)
    assert main(["inspect", f"pretrained/{NAMES[0]}"]) == 0
    assert ours.hp.family in capsys.readouterr().out


def test_an_unknown_name_is_refused_and_a_path_of_the_user_comes_first(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="There is no model pretrained/nothing; there are pretrained/"):
        load.read("pretrained/nothing")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    shutil.copy(pretrained.FOLDER / f"{NAMES[0]}.npz", tmp_path / "pretrained" / NAMES[0])
    assert not pretrained.is_included(load.read(f"pretrained/{NAMES[0]}").path)
    assert main(["pretrained"]) == 0 and main(["pretrained", NAMES[0]]) == 0  # the cards are the package's
    with pytest.raises(CheckpointError, match="There is no model pretrained/../pretrained/x; there are"):
        pretrained.card("../pretrained/x")


def test_a_model_of_the_package_is_known_by_any_path(monkeypatch):
    monkeypatch.chdir(pretrained.FOLDER.parent)
    assert pretrained.is_included(Path("pretrained") / f"{NAMES[0]}.npz")
