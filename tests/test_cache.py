"""Compiled programs that are kept: used by the next process, never instead of another program."""

import numpy as np
import pytest

from samplernn_theano import cache, trainer
from samplernn_theano.hyperparameters import OneTier

HP = OneTier(dim=8, emb_size=4, q_levels=16, seq_len=32, batch_size=2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", str(tmp_path))
    return tmp_path


def programs(folder):
    return sorted(folder.glob("programs/*"))


def numbers(compiled):
    """Costs of some steps and of an evaluation, and Adam's names."""
    random = np.random.default_rng(0)
    states, costs = compiled.zero_states(), []
    for i in range(3):
        sequences = random.integers(0, 16, (2, 33), np.int32)
        batch = sequences, np.ones((2, 33), np.float32), np.asarray(i == 0, np.int32)
        cost, *states = compiled.step(*batch, *states)
        costs.append(float(cost))
    return costs, float(compiled.evaluate(*batch, *states)[0]), list(compiled.adam)


def never(*_, **__):
    raise AssertionError("compiled anew")


def test_a_kept_program_computes_the_same_and_nothing_is_compiled_anew(folder, monkeypatch):
    first = numbers(trainer.compile_trainer(HP))
    assert len(programs(folder)) == 2
    with monkeypatch.context() as context:
        context.setattr(trainer, "compile_function", never)
        assert numbers(trainer.compile_trainer(HP)) == first
        for other in ({"learning_rate": 0.5}, {"precision": "tf32"}):
            with pytest.raises(AssertionError, match="compiled anew"):
                trainer.compile_trainer(HP, **other)
        context.setattr(cache, "_sources", lambda: "another version of this package")
        with pytest.raises(AssertionError, match="compiled anew"):
            trainer.compile_trainer(HP)
    for path in programs(folder):
        path.write_bytes(path.read_bytes()[:-1])
    assert numbers(trainer.compile_trainer(HP)) == first
    monkeypatch.setattr(trainer, "compile_function", never)
    assert numbers(trainer.compile_trainer(HP)) == first


def test_what_is_damaged_is_not_used(folder):
    what = {"program": "x"}
    cache.keep(what, {"devices": 1}, b"some bytes")
    assert cache.find(what) == ({"devices": 1}, b"some bytes")
    assert cache.find({"program": "y"}) is None
    (path,) = programs(folder)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole.replace(b"some", b"same"), b"", b"[]\n", b"{}\nx", b"\x00\xff"):
        path.write_bytes(damaged)
        assert cache.find(what) is None


def test_nothing_is_kept_where_it_is_not_wanted_or_cannot_be(folder, monkeypatch):
    monkeypatch.setenv("SAMPLERNN_CACHE", "off")
    cache.keep({}, {}, b"x")
    assert cache.folder() is None and cache.find({}) is None
    (folder / "file").touch()
    monkeypatch.setenv("SAMPLERNN_CACHE", str(folder / "file"))
    cache.keep({}, {}, b"x")
    assert cache.find({}) is None
    monkeypatch.delenv("SAMPLERNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    assert cache.folder() == folder / "samplernn-theano"


def test_the_oldest_make_room(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_PROGRAMS", 3)
    for i in range(5):
        cache.keep({"i": i}, {}, b"x")
        assert cache.find({"i": 0}) if i < 3 else True  # used: not the oldest
    assert len(programs(folder)) == 3
    monkeypatch.setattr(cache, "MOST_BYTES", 250)
    cache.keep({"i": 9}, {}, b"x" * 100)
    assert cache.find({"i": 9}) and len(programs(folder)) < 3
