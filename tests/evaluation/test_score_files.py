"""Scores of many recordings: stored one by one, and resumed after Ctrl-C and kills to the same table."""

import csv
import itertools
import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.backends import compile
from samplernn_theano.checkpoints import load
from samplernn_theano.config.hyperparameters import OneTier
from samplernn_theano.evaluation import nll
from tests.evaluation.conftest import run, save
from tests.generation.test_partial import once
from tests.generation.test_samplers import interpreted
from tests.training.test_kills import in_a_new_process, kill_before

FILES = ["a.csv", "a.csv.scores"]
NAMES = [f"{letter}.wav" for letter in "abcd"]


def write_inputs(folder: Path) -> list[str]:
    """A model and recordings; the words of the command but for the CSV file."""
    checkpoint = save(folder / "model.npz", OneTier(dim=3, emb_size=2, q_levels=16, n_rnn=1))
    for i, name in enumerate(NAMES):
        soundfile.write(folder / name, np.random.default_rng(i).uniform(-0.5, 0.5, 200 + 50 * i), 16000)
    return [
        "score",
        *(str(folder / name) for name in NAMES),
        "--checkpoint",
        str(checkpoint),
        "--window",
        "0.01",
    ]


def rows_of(path: Path) -> dict[str, list]:
    """Rows of a CSV file by the name of the recording."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [(Path(row["file"]).name, row["seconds"], row["nll_bits"]) for row in csv.DictReader(file)]
    return {name: [row for row in rows if row[0] == name] for name in {row[0] for row in rows}}


@pytest.fixture
def inputs(tmp_path, quick_graphs, monkeypatch):
    monkeypatch.setattr(compile, "allow_concurrent_calls", lambda backend: 1)
    monkeypatch.setattr(nll, "CHUNK", 100)
    return write_inputs(tmp_path)


def interrupt(monkeypatch, words, name, kind=KeyboardInterrupt):
    """Run the command; Ctrl-C comes before the recording `name` is scored."""
    score = nll.score_recording

    def interrupted(scorer, samples, path="", *arguments, **options):
        if Path(path).name == name:
            raise kind
        return score(scorer, samples, path, *arguments, **options)

    with monkeypatch.context() as context:
        context.setattr(nll, "score_recording", interrupted)
        return run(*words)


def test_ctrl_c_loses_nothing_and_the_same_command_resumes(inputs, tmp_path, monkeypatch, capsys):
    whole, table = tmp_path / "whole.csv", tmp_path / "new" / "a.csv"
    assert run(*inputs, "--csv", whole) == 0
    ranked = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert interrupt(monkeypatch, [*inputs, "--csv", table], "c.wav") == 130
    out, err = capsys.readouterr()
    assert "2 of 4: " in out and "bits per sample  " in out  # the table of both
    assert "2 of 4 recordings are not scored; the others are in" in err and "Interrupted." in err
    expected = rows_of(whole)
    assert rows_of(table) == {name: expected[name] for name in ("a.wav", "b.wav")}

    assert interrupt(monkeypatch, [*inputs, "--csv", table], "a.wav") == 0  # it is not scored again
    out, err = capsys.readouterr()
    assert f"2 of 4 recordings have been scored before, by {table}.scores." in out
    assert [line for line in out.splitlines() if line.startswith("    ")] == ranked
    assert table.read_bytes() == whole.read_bytes() and sorted(os.listdir(table.parent)) == FILES

    with monkeypatch.context() as context:  # a complete table stays, and nothing is compiled
        context.setattr(nll, "compile_scorer", None)
        assert run(*inputs, "--csv", table) == 0
    assert "4 of 4 recordings have been scored before" in capsys.readouterr().out
    assert table.read_bytes() == whole.read_bytes() and sorted(os.listdir(table.parent)) == FILES
    (tmp_path / "d.wav").unlink()
    assert run(*inputs, "--csv", table) == 2
    assert rows_of(table) == {name: expected[name] for name in ("a.wav", "b.wav", "c.wav")}


def replace_with_times(path: Path) -> None:
    """Another recording of the same size and time, in the same file or moved there (cp -p, rsync -t)."""
    before, new = path.stat(), path.with_name("new.wav")
    new.write_bytes(path.read_bytes()[:-2] + b"\x11\x22")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(new, path)
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("change", "scored_before"),
    [
        (lambda folder, part: part.write_bytes(part.read_bytes()[:-9]), 1),
        (lambda folder, part: part.write_bytes(b"\xff\0" * 99), 0),
        (lambda folder, part: part.write_text("[]\n[]\n"), 0),
        (lambda folder, part: soundfile.write(folder / "a.wav", np.arange(9) / 9, 16000), 1),
        (lambda folder, part: replace_with_times(folder / "a.wav"), 1),
        (lambda folder, part: (folder / "d.wav").unlink(), 2),
        (
            lambda folder, part: save(folder / "model.npz", OneTier(dim=2, emb_size=2, q_levels=16, n_rnn=1)),
            0,
        ),
    ],
    ids=[
        "cut",
        "damaged",
        "foreign",
        "another recording",
        "of the same time",
        "a lost recording",
        "another model",
    ],
)
def test_only_what_has_not_changed_is_not_scored_again(
    inputs, tmp_path, monkeypatch, capsys, change, scored_before
):
    words = [*inputs, "--csv", tmp_path / "a.csv"]
    assert interrupt(monkeypatch, words, "c.wav") == 130
    change(tmp_path, tmp_path / "a.csv.scores")
    capsys.readouterr()
    code = 0 if (tmp_path / "d.wav").exists() else 2
    assert run(*words) == code
    out = capsys.readouterr().out
    assert f"{scored_before} of 4 recordings have been scored before" in out or scored_before == 0
    assert ("before" in out) == (scored_before > 0)
    assert run(*inputs, "--csv", tmp_path / "whole.csv") == code
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_table_that_cannot_be_written_is_refused_before_the_work(inputs, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert interrupt(monkeypatch, [*inputs, "--csv", tmp_path / "file" / "a.csv"], "a.wav") == 2
    assert "Could not write" in capsys.readouterr().err
    for name in NAMES:
        (tmp_path / name).write_text("no sound")
    assert run(*inputs, "--csv", tmp_path / "a.csv") == 2 and not list(tmp_path.glob("a.csv*"))


@pytest.mark.skipif(
    compile.default_backend() != "jax", reason="only JAX's programs may run in several threads"
)
def test_several_at_once_score_as_one_after_the_other(tmp_path, monkeypatch):
    words = write_inputs(tmp_path)
    for at_once in (1, 3):
        monkeypatch.setattr(compile, "allow_concurrent_calls", lambda backend, n=at_once: n)
        assert run(*words, "--csv", tmp_path / f"{at_once}.csv") == 0
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()


# --- kills


def score(words: list[str], log: Path, operation: int, out: Path) -> None:
    """The command in a process of its own, which is killed before an operation on files in `out`."""
    sys.stdout = sys.stderr = log.open("w", buffering=1)
    if operation:
        kill_before(operation, out)
    sys.exit(run(*words, "--csv", out / "a.csv"))


def kill_everywhere(folder: Path) -> int:
    """Kill the command before every other operation on files, and run it again; return the operations."""
    nll.compile_function, nll.CHUNK = interpreted, 100
    words = [*write_inputs(folder), "--backend", "numba"]
    nll.compile_scorer = once(nll.compile_scorer)
    nll.compile_scorer(load.read(folder / "model.npz"), "numba", for_recordings=True)

    def start(operation: int, out: Path) -> tuple[int, str]:
        out.mkdir(exist_ok=True)
        log = folder / "log.txt"
        process = multiprocessing.get_context("fork").Process(target=score, args=(words, log, operation, out))
        process.start()
        process.join()
        return process.exitcode, log.read_text()

    assert start(0, folder / "whole")[0] == 0
    expected = rows_of(folder / "whole" / "a.csv")
    for operation in itertools.count(1, 2):
        out = folder / str(operation)
        code, log = start(operation, out)
        if code == 0:
            return operation
        assert code == -signal.SIGKILL, log
        rows, n_done = rows_of(out / "a.csv"), log.count(" bits per sample\n")
        assert len(rows) >= n_done  # a line is printed when the rows are on the disk
        assert all(expected[name] == rows[name] for name in rows)
        code, log = start(0, out)
        before = int((re.findall(r"(\d) of 4 recordings have been scored before", log) or [0])[0])
        assert code == 0 and len(rows) <= before <= len(rows) + 1, (operation, log)
        assert (out / "a.csv").read_bytes() == (folder / "whole" / "a.csv").read_bytes()
        assert sorted(os.listdir(out)) == FILES
    raise AssertionError


def test_a_kill_before_an_operation_on_files_loses_no_row(tmp_path, monkeypatch):
    assert in_a_new_process(monkeypatch, kill_everywhere, tmp_path) > 20
