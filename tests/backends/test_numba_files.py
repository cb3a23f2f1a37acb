"""Damaged files of the backend numba are compiled again."""

import numpy as np
import pytensor.tensor as pt
import pytest
from pytensor.link.numba import cache

from samplernn_theano.backends.compile import compile_function


def compute() -> float:
    x = pt.tensor("x", dtype="float32", shape=(2,))
    return float(compile_function([x], [pt.sum(x) * 2], backend="numba")(np.ones(2, np.float32))[0])


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: bytes(len(whole)),
     lambda whole: np.random.default_rng(0).bytes(len(whole))],
    ids=["empty", "truncated", "zeros", "random"],
)  # fmt: skip
def test_damaged_files_are_made_again(tmp_path, monkeypatch, suffix, damage):
    monkeypatch.setattr(cache, "NUMBA_CACHE_PATH", tmp_path)
    assert compute() == 4
    files = {path: path.read_bytes() for path in tmp_path.glob(f"*.{suffix}")}
    for path, whole in files.items():
        path.write_bytes(damage(whole))
    assert files and compute() == 4
    assert all(path.read_bytes() != damage(whole) for path, whole in files.items())
