"""Stored machine code of kernels: that of the sources as they are, and made again where it is damaged."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import samplernn_theano
from samplernn_theano.generation.kernels import machine_code, sample_loop
from samplernn_theano.generation.kernels.machine_code import compiled

PROBE = """
import numpy as np
from samplernn_theano.generation.kernels.elementwise import sigmoid
from samplernn_theano.generation.kernels.machine_code import compiled
@compiled
def probe(x): sigmoid(x)
x = np.zeros(1, np.float32)
probe(x)
print(x[0], sum(probe.stats.cache_hits.values()))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def test_an_edit_of_any_file_of_the_kernels_is_compiled(folder, tmp_path):
    """A function in one file, and what it calls in another one, of a copy of the package."""
    package = Path(samplernn_theano.__file__).parent
    copy = tmp_path / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def run() -> list[str]:
        command = [sys.executable, "-c", PROBE]
        return subprocess.check_output(command, cwd=tmp_path, env=os.environ, text=True).split()

    assert [run(), run()] == [["0.5", "0"], ["0.5", "1"]]
    edited = copy / "generation" / "kernels" / "elementwise.py"
    edited.write_text(
        edited.read_text().replace("_ONE / (_ONE + _exp(-x[j]))", "_ONE / (_TWO + _exp(-x[j]))")
    )
    assert run() == ["0.33333334", "0"]
    assert len(list(folder.iterdir())) == 2


def twice(x):
    return 2 * x


@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: bytes(len(whole)),
     lambda whole: np.random.default_rng(0).bytes(len(whole)), lambda whole: whole[:-1] + b"\0",
     lambda whole: b"[" * 10**5 + b"\n" + whole],
    ids=["empty", "truncated", "zeros", "random", "one byte", "nested"],
)  # fmt: skip
def test_damaged_files_are_made_again(folder, damage):
    assert compiled(twice)(2) == 4
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    for hits in (0, 1):
        function = compiled(twice)
        assert function(3) == 6 and sum(function.stats.cache_hits.values()) == hits


class Pair(NamedTuple):
    array: np.ndarray
    number: np.float32


def first(pair):
    return pair.array[0] * pair.number


def test_named_tuples_are_arguments_as_of_the_kernels(folder):
    pair = Pair(np.full(1, 2, np.float32), np.float32(3))
    for hits in (0, 1):
        function = compiled(first)
        assert function(pair) == 6 and sum(function.stats.cache_hits.values()) == hits


def test_a_file_that_calls_something_is_not_obeyed(folder, monkeypatch, tmp_path):
    class Call:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "called"),)

    monkeypatch.setattr(machine_code, "dumps", lambda _: pickle.dumps(Call()))
    compiled(twice)(2)
    monkeypatch.undo()
    monkeypatch.setenv("SAMPLERNN_CACHE", str(folder.parent))
    assert compiled(twice)(3) == 6 and len(list(folder.iterdir())) == 1
    assert not (tmp_path / "called").exists()


def test_nothing_is_stored_if_the_cache_is_off(folder, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", "off")
    assert compiled(twice)(2) == 4 and not folder.exists()


def test_the_loop_over_samples_is_stored():
    assert type(sample_loop.generate_block._cache) is type(compiled(twice)._cache)
