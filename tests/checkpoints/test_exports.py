"""Exported models: round trip, what is left out, damaged and foreign files, and the model card."""

import ast
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from samplernn_theano.checkpoints import exports, inspect, load, npz, pretrained
from samplernn_theano.checkpoints.convert import convert
from samplernn_theano.cli.main import main
from samplernn_theano.errors import CheckpointError, OutputError
from tests.checkpoints.test_convert import HP, TREES, initial, made_run, results_folder
from tests.checkpoints.test_npz import assert_equal

MACHINE = {
    "data": "/home/me/secret/tones",
    "command": "samplernn train --data /home/me/secret/tones",
    "converted_from": "/home/me/secret/x.pkl",
    "original_argv": ["/home/me/secret/one_tier.py"],
    "exp": "secret",
}
KNOWN = {"seed": 7, "backend": "jax", "versions": {"numpy": "2.2"}, "data_sha256": {"test": "00"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made_run(tmp_path_factory.mktemp("exports") / "run", **MACHINE, **KNOWN).folder


@pytest.fixture(scope="module")
def exported(run) -> Path:
    """The best checkpoint of the run, exported."""
    convert(run, run.parent / "hub" / "model.safetensors")
    return run.parent / "hub" / "model.safetensors"


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def changed(path: Path, out: Path, arrays: dict | None = None, **metadata: str) -> Path:
    """A copy of an exported model with other tensors or metadata."""
    with safe_open(path, framework="numpy") as file:
        about = file.metadata()
    save_file(load_file(path) if arrays is None else arrays, out, about | metadata)
    return out


def test_a_run_is_exported_and_comes_back_bit_for_bit(run, exported, tmp_path):
    best = npz.load(run / "checkpoints" / "best.npz")
    tensors = load_file(exported)
    assert tensors.keys() == best.parameters.keys()
    for name, array in best.parameters.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)
    message = convert(exported, tmp_path / "back.npz")
    assert "has neither Adam's moments nor the recurrent states" in message
    back = npz.load(tmp_path / "back.npz")
    assert list(back.parameters) == list(best.parameters) and back.hp == best.hp
    assert_equal(back, npz.load(exported))
    assert (back.progress, back.adam, back.states) == (best.progress, {}, {})
    expected = {**KNOWN, "schedule": {"learning_rate": 0.002}, "data": "tones", "which_set": "MUSIC"}
    assert back.settings == expected
    assert (
        b"secret" not in exported.read_bytes() and "secret" not in exported.with_name("README.md").read_text()
    )
    convert(tmp_path / "back.npz", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == exported.read_bytes()


def test_an_export_that_the_disk_damages_leaves_the_old_file(run, tmp_path, monkeypatch):
    path, write = tmp_path / "a.safetensors", Path.write_bytes
    convert(run, path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    for damage in (lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])):
        monkeypatch.setattr(Path, "write_bytes", lambda self, data, damage=damage: write(self, damage(data)))
        with pytest.raises(OutputError, match="the disk returned wrong data"):
            convert(run, path, overwrite=True)
        monkeypatch.undo()
        assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_files_of_the_original_are_exported_and_an_export_becomes_one(tmp_path):
    name, path = results_folder.checkpoints(TREES["one_tier"])[1]
    convert(path, tmp_path / "a.safetensors", which_set="BLIZZ")
    assert npz.load(tmp_path / "a.safetensors").settings["which_set"] == "BLIZZ"
    convert(tmp_path / "a.safetensors", tmp_path / "a.pkl")
    assert (tmp_path / "a.pkl").read_bytes() == path.read_bytes()
    (tmp_path / "alone.pkl").write_bytes(path.read_bytes())
    convert(tmp_path / "alone.pkl", tmp_path / "b.safetensors")
    card = (tmp_path / "README.md").read_text()
    assert re.search(r"^\| of these assumed \| .*q_type", card, flags=re.MULTILINE)
    assert ", converted for samplernn-theano." in card
    assert not re.search(r"^\| (trained|learning rate|of fork) \|", card, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["model.safetensors", "renamed.npz", "renamed"])
def test_an_exported_model_is_read_wherever_a_checkpoint_is(exported, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(exported.read_bytes())
    assert load.read(path).hp == HP
    assert f"{name}: one_tier checkpoint\nepoch 0, iteration 20" in inspect.describe(path)


def test_a_file_cut_or_flipped_anywhere_is_one_line(exported, tmp_path):
    """Whitespace that pads the header may change: nothing is read of it."""
    whole, path = exported.read_bytes(), tmp_path / "a.safetensors"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refused(path)
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            loaded = npz.load(path)
        except CheckpointError:
            continue
        assert_equal(loaded, npz.load(exported))


def test_other_tensors_are_refused(exported, tmp_path):
    tensors, path = load_file(exported), tmp_path / "a.safetensors"
    first = next(iter(tensors))
    less = {name: array for name, array in tensors.items() if name != first}
    other = {first: tensors[first].ravel(), **less}
    assert "checksum is wrong" in refused(changed(exported, path, less))
    assert "checksum is wrong" in refused(changed(exported, path, other))
    half = {name: array.astype(np.float16) for name, array in tensors.items()}
    assert "is not of float32" in refused(changed(exported, path, half))
    about = {"format": npz.FORMAT, "arrays": [first]}
    about |= {"sha256": exports._checksum(about, tensors)}  # as somebody could make it
    for text in ("[]", "3", "{", "[" * 100_000, json.dumps(about)):
        assert "damaged or not one of this package" in refused(changed(exported, path, about=text))


def test_files_of_other_programs_and_kinds_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path, {"format": "pt"})
    assert "is a file of another program (safetensors): it does not describe a model" in refused(path)
    save_file({"weight": np.zeros(3, np.float32)}, path)
    assert "is a file of another program" in refused(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    assert "is a pointer of Git LFS" in refused(path)
    path.unlink()
    assert refused(path) == f"There is no checkpoint {path}."


def test_a_model_card_says_what_is_known(exported):
    text = exported.with_name("README.md").read_text(encoding="utf-8")
    _, front, rest = text.split("---\n", 2)
    known = yaml.safe_load(front)
    assert known == {
        "license": "unknown",
        "library_name": "samplernn-theano",
        "tags": ["audio", "audio-generation", "unconditional", "samplernn", "one_tier"],
    }
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", rest, flags=re.MULTILINE))
    size = sum(array.size for array in initial(HP).values())
    assert rows["data set"] == "tones" and rows["parameters"] == f"{size:,}"
    assert rows["trained"].startswith("iteration 20, epoch 0")
    assert (rows["seed"], rows["learning rate"], rows["versions"]) == ("7", "0.002", "numpy 2.2")
    assert "dim 4, " in rows["hyper-parameters"] and "GRU of 4" in rows["SampleLevel"]
    assert "samplernn generate model.safetensors" in rest
    assert "Install the package samplernn-theano first" in rest and "The tensors are 32-bit floats" in rest


def test_the_card_of_a_model_of_the_package_has_its_licence_and_all_that_is_known(tmp_path, monkeypatch):
    """Its commands can be copied, whatever the name of the file."""
    name, out = pretrained.names()[0], tmp_path / "my|model's 1.safetensors"
    known = {**pretrained.card(name), "licence": "mit", "new_entry": "told"}
    monkeypatch.setattr(pretrained, "card", lambda _: known)
    convert(f"pretrained/{name}", out)
    card = (tmp_path / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "mit"
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", card, flags=re.MULTILINE))
    assert (rows["data set"], rows["family"], rows["new entry"]) == (known["set"], known["family"], "told")
    assert rows["parameters"] == f"{known['parameters']:,}" and rows["test"].startswith(str(known["test"]))
    words = [shlex.split(line) for line in re.findall(r"^samplernn .*", card, flags=re.MULTILINE)]
    assert words and all(line[2] == out.name for line in words)
    (call,) = re.findall(r"samplernn_theano\.generate\((.+), seconds=10\)", card)
    assert ast.literal_eval(call) == out.name


def test_a_card_has_the_licence_of_the_data_if_the_set_is_still_the_same(tmp_path):
    (tmp_path / "tones").mkdir()
    about = {"licence": "CC0-1.0", "origin": "me | you", "splits": {"test": {"sha256": "00"}}}
    (tmp_path / "tones" / "manifest.json").write_text(json.dumps(about))
    run = made_run(tmp_path / "run", data=str(tmp_path / "tones"), data_sha256={"test": "00"})
    convert(run.best.parents[1], tmp_path / "a.safetensors")
    card = (tmp_path / "README.md").read_text()
    assert "| licence of the data | CC0-1.0 |" in card and "| origin of the data | me \\| you |" in card
    for other in (about | {"splits": {"test": {"sha256": "11"}}}, about | {"splits": 3}, [], None):
        (tmp_path / "tones" / "manifest.json").write_text(json.dumps(other))
        convert(run.best.parents[1], tmp_path / "a.safetensors", overwrite=True)
        assert "of the data" not in (tmp_path / "README.md").read_text()
    unreadable = made_run(tmp_path / "far", data="/" + 5000 * "x", data_sha256={"test": "00"})
    convert(unreadable.best.parents[1], tmp_path / "a.safetensors", overwrite=True)
    assert "of the data" not in (tmp_path / "README.md").read_text()


def test_a_readme_of_others_or_edited_is_kept(run, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# My project\n")
    with pytest.raises(OutputError, match=r"README\.md is not a card that samplernn convert wrote"):
        convert(run, tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    convert(run, tmp_path / "a.safetensors", overwrite=True)
    convert(run, tmp_path / "b.safetensors")  # replaces a card of its own
    assert "generate b.safetensors" in card.read_text()
    card.write_text(card.read_text().replace("license: unknown", "license: cc0-1.0"))
    with pytest.raises(OutputError, match="or it was edited"):
        convert(run, tmp_path / "c.safetensors")
    assert "cc0-1.0" in card.read_text() and not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hub/model.safetensors new.safetensors", "model.safetensors is an exported model already; copy"),
        ("run hub/model.safetensors", "model.safetensors exists; name another file, or give --overwrite"),
        ("run new.safetensors --exp x", "--exp has no effect on new.safetensors"),
        ("run new.safetensors --set dim=8", "has shape .* this model needs"),
        ("hub/model.safetensors new", "one file, which cannot become a folder; .*FILE.safetensors"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_nothing_is_written(
    run, exported, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(run.parent)
    before = {p: p.stat().st_mtime_ns for p in run.parent.rglob("*")}
    assert main(["convert", *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert {p: p.stat().st_mtime_ns for p in run.parent.rglob("*")} == before
