"""The JSON of a run with wrong types: one line that names the file, or what is damaged is left out."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from samplernn_theano.checkpoints.run_folder import Run
from samplernn_theano.cli.main import main
from samplernn_theano.errors import OutputError
from samplernn_theano.training import run as training
from tests.conftest import GOLDEN

OLD = GOLDEN / "version_0.1.0"
DEEP = "so deep that a parser gives up"
WRONG = [None, "5", [1], -1, 10**400, "x\ny\x1b[2J", DEEP]


def dumped(content: Any) -> str:
    return json.dumps(content).replace(json.dumps(DEEP), "[" * 5000 + "]" * 5000)


def changed(content: Any) -> Iterator[str]:
    """JSON with one entry changed, or all of it, to one of the wrong values, another at each place."""

    def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
        yield path
        for name, inner in value.items() if isinstance(value, dict) else ():
            yield from places(inner, (*path, name))

    for number, path in enumerate(places(content)):
        new = {"": json.loads(json.dumps(content))}
        at = new
        for name in ("", *path)[:-1]:
            at = at[name]
        at[("", *path)[-1]] = WRONG[number % len(WRONG)]
        yield dumped(new[""])


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A copy of a run, of which a resumption ends before it compiles."""

    def stop(*_):
        raise OutputError("As far as here.")

    monkeypatch.setattr(training, "_compile", stop)
    monkeypatch.setattr(training.malloc, "keep_freed_memory", lambda _: None)
    return Run(shutil.copytree(OLD / "run", tmp_path / "run"))


def check(capsys, *command: object) -> None:
    """A command succeeds, or ends with one line."""
    code = main([str(word) for word in command])
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("samplernn: ")]
    assert (code, len(errors)) in ((0, 0), (2, 1)) and "\x1b" not in out + err
    for internal in ("object", "NoneType", "indices", "Errno"):
        assert internal not in "".join(errors), errors


def test_settings(run, capsys):
    run.last.unlink()
    for text in changed(json.loads(run.settings.read_text())):
        run.settings.write_text(text)
        check(capsys, "show", run.folder)
        check(capsys, "train", "--config", run.settings, "--run", run.folder / "new", "--data", OLD / "tones")


def test_log(run, capsys):
    lines = run.log.read_text().splitlines()
    for number in (0, 1, 2, len(lines) - 1):
        for text in changed(json.loads(lines[number])):
            run.log.write_text("\n".join([*lines[:number], text, *lines[number + 1 :]]) + "\n")
            check(capsys, "show", run.folder)
            check(capsys, "resume", run.folder, "--max-iters", 30, "--data", OLD / "tones")


def test_header_of_a_checkpoint(run, capsys):
    with np.load(run.last) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for text in changed(json.loads(str(arrays["about"]))):
        np.savez(run.last, **arrays | {"about": np.array(text)})
        check(capsys, "show", run.folder)
        check(capsys, "resume", run.folder, "--max-iters", 30, "--data", OLD / "tones")
