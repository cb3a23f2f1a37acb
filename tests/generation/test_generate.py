"""Generation in Python: requests, blocks, levels. (The command is in test_generate_cli.py.)"""

import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import samplernn_theano
from samplernn_theano.checkpoints import load, npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import FAMILIES, ThreeTier
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.errors import CheckpointError, DataError, HyperParameterError
from samplernn_theano.generation import amplitudes, priming, samplers
from samplernn_theano.generation.amplitudes import PEAK, level, waveform
from samplernn_theano.generation.generator import Generator, blocks, take
from samplernn_theano.generation.random_streams import OwnStreams
from samplernn_theano.generation.request import Request
from samplernn_theano.models.build import build_graph
from samplernn_theano.models.parameters import Parameters
from tests.generation.test_partial import HP, REAL, interpreted, simple
from tests.generation.test_samplers import parameters


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "model.npz"
    npz.save(path, npz.Checkpoint(HP, parameters(HP).arrays()))
    return path


@pytest.fixture
def quick_graphs(monkeypatch):
    """Graphs of small blocks that are not compiled."""
    monkeypatch.setattr(samplers, "compile_function", interpreted)
    monkeypatch.setattr(priming, "compile_function", interpreted)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", 40)


def taken(checkpoint, *arguments, **options) -> np.ndarray:
    """All that is generated, (n_seqs, samples)."""
    return np.concatenate(list(samplernn_theano.generate(checkpoint, *arguments, **options)), axis=1)


# --- requests -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_seqs": 0}, "--n_seqs is 0"),
        ({"temperature": (0.0,)}, "--temperature must be a positive number"),
        ({"temperature": (1.0, -0.5), "n_seqs": 2}, "--temperature must be a positive number"),
        ({"temperature": (float("nan"),)}, "--temperature must be"),
        ({"temperature": (float("inf"),)}, "--temperature must be"),
        ({"temperature": (1e-40,)}, "--temperature must be"),  # its inverse is none in float32
        ({"temperature": (1.0, 1.1), "n_seqs": 3}, "has 2 values for 3 sequences"),
        ({"temperature": ()}, "has 0 values for 1 sequences"),
        ({"top_p": 0.0}, "--top-p is 0; it must be above 0 and at most 1"),
        ({"top_p": 1.01}, "--top-p is 1.01"),
        ({"top_p": float("nan")}, "--top-p is nan"),
        ({"primes": (Path("a"), Path("b"))}, "names 2 recordings for 1 sequences; give --n_seqs 2"),
        ({"like_original": True, "temperature": (0.9,)}, "--like-original goes without --temperature"),
        ({"like_original": True, "top_p": 0.9}, "--like-original goes without"),
        ({"like_original": True, "primes": (Path("a"),)}, "--like-original goes without"),
        ({"like_original": True, "seed": 1}, "--like-original goes without"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(wrong, words):
    with pytest.raises(HyperParameterError, match=words):
        Request(**wrong)


def test_each_sequence_has_its_temperature():
    request = Request(n_seqs=3, temperature=(0.5, 1.0, 2.0))
    assert [request.temperature_of(i) for i in range(3)] == [0.5, 1.0, 2.0]
    assert Request(n_seqs=3).temperature_of(2) == 1


# --- blocks -------------------------------------------------------------------------------------------------


def test_numbers_that_are_not_finite_end_a_generation():
    def broken(sample, state):
        run = lambda *_: (np.full((2, 10), sample, np.float32), {"h0": np.full(2, state)})  # noqa: E731
        generator = simple(hp=REAL)
        return replace(generator, engine=replace(generator.engine, run=run))

    for sample, state in ((np.nan, 0), (np.inf, 0), (0, np.nan), (0, -np.inf)):
        with pytest.raises(CheckpointError, match="not finite.*use another checkpoint"):
            next(blocks(broken(sample, state), {}))
    next(blocks(broken(0, 0), {}))


@pytest.mark.parametrize("first", [0, 20])
def test_silence_is_asked_for_where_it_is_due(first):
    asked = []
    generator = replace(simple(), silent=range(25, 33))
    engine = generator.engine

    def run(state, noise, silent):
        asked.extend(silent)
        return engine.run(state, noise, silent)

    silenced = replace(generator, engine=replace(engine, run=run))
    list(islice(blocks(silenced, generator.state, first), 5))
    assert [first + t for t, due in enumerate(asked) if due] == list(range(25, 33))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["c", "numba"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_backends_generate_the_same(family, backend):
    hp = replace(PRESETS[family]["tiny"], dim=8)
    params = parameters(hp)
    ours, theirs = (
        take(
            Generator(hp, engine := samplers.create(params, hp, 2, name), OwnStreams(0, 2), engine.start()),
            200,
        )
        for name in ("jax", backend)
    )
    if hp.real_valued:
        np.testing.assert_allclose(ours[:, :20], theirs[:, :20], atol=1e-3)  # then rounding has grown
    else:
        assert np.mean(ours == theirs) > 0.99  # a draw may fall on the other side


# --- levels -------------------------------------------------------------------------------------------------

sounds = hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1, 1, width=32))


@settings(deadline=None)
@given(sounds)
def test_a_waveform_has_no_offset_and_a_stated_level(x):
    y = waveform(x)
    if np.ptp(x) < 1e-5:
        return
    assert np.abs(y).max() == pytest.approx(PEAK, rel=1e-5)
    assert abs(y.mean(dtype=float)) < 2e-7 / np.ptp(x)
    assert np.ptp(x) * np.corrcoef(x, y)[0, 1] == pytest.approx(np.ptp(x), rel=1e-3)


@pytest.mark.parametrize("value", [-1.0, -0.3, 0.0, 0.7, 1.0])
@pytest.mark.parametrize("n", [1, 1000, 10**6])
def test_a_constant_is_silence(value, n):
    assert not waveform(np.full(n, value, np.float32)).any()


@given(sounds, st.lists(st.integers(1, 199), max_size=5))
def test_the_level_of_a_sound_does_not_depend_on_the_pieces_it_comes_in(x, cuts):
    pieces = np.split(x, sorted(cut for cut in set(cuts) if cut < len(x)))
    np.testing.assert_allclose(level(pieces), level([x]), rtol=1e-5, atol=1e-7)


def test_amplitudes_of_levels_and_of_normalised_numbers():
    levels = np.arange(32)
    x = amplitudes(levels, HP)
    assert x.dtype == np.float32 and (np.diff(x) > 0).all() and x.min() >= -1 and x.max() <= 1
    curved = amplitudes(np.arange(256), replace(HP, q_type="mu-law", q_levels=256))
    assert np.diff(curved).argmin() in (126, 127, 128)  # the finest around zero
    np.testing.assert_allclose(amplitudes(np.float32([0, 1, -2]), REAL), [0.01, 0.11, -0.19])


# --- the Python API -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 0.1, 1 / 16000, 0.25003125])
def test_blocks_have_the_length_that_was_asked_for(checkpoint, seconds):
    blocks = list(samplernn_theano.generate(checkpoint, seconds=seconds, n_seqs=2))
    assert all(block.dtype == np.float32 and len(block) == 2 and np.abs(block).max() <= 1 for block in blocks)
    assert sum(block.shape[1] for block in blocks) == round(seconds * 16000)


def test_without_a_length_there_is_no_end(checkpoint):
    blocks = list(islice(samplernn_theano.generate(checkpoint), 30))
    assert all(block.shape == (1, 1600) for block in blocks)
    assert len({block.tobytes() for block in blocks}) == 30
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1)[:, :9000], taken(checkpoint, 9000 / 16000))


def test_blocks_are_what_the_command_writes_but_for_the_level(checkpoint, tmp_path):
    words = ["--seconds", "0.3", "--n_seqs", "3", "--seed", "5", "--temperature", "0.7", "1", "1.5"]
    words += ["--top-p", "0.9", "--silence", "0.1:0.15", "--float"]
    assert main(["generate", str(checkpoint), *words, "--out", str(tmp_path)]) == 0
    options = {"seed": 5, "temperature": [0.7, 1, 1.5], "top_p": 0.9, "silent": range(1600, 2400)}
    x = taken(checkpoint, 0.3, 3, **options)
    assert len(np.unique(x[:, 1600:2400])) == 1
    for sequence, path in zip(x, sorted(tmp_path.glob("*.wav"), key=lambda p: p.stem[-1]), strict=True):
        written, _ = soundfile.read(path, dtype="float32")
        expected = waveform(sequence)
        expected[1600:2400] = 0  # silence is silent in the file
        np.testing.assert_allclose(written, expected, atol=1e-6)


def test_a_sequence_depends_on_the_seed_and_on_its_number_alone(checkpoint):
    three = taken(checkpoint, 0.2, 3)
    np.testing.assert_array_equal(taken(checkpoint, 0.2, 1), three[:1])
    np.testing.assert_array_equal(taken(checkpoint, 0.2, 2, temperature=1), three[:2])
    assert len({row.tobytes() for row in (*three, *taken(checkpoint, 0.2, 3, seed=1))}) == 6


def test_a_checkpoint_may_be_read_before(checkpoint):
    np.testing.assert_array_equal(taken(load.read(checkpoint), 0.1), taken(checkpoint, 0.1))


def test_a_run_generates_from_its_best_checkpoint(checkpoint, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "best.npz").write_bytes(checkpoint.read_bytes())
    np.testing.assert_array_equal(taken(tmp_path / "run", 0.1), taken(checkpoint, 0.1))


def test_a_prime_is_heard_and_is_no_part_of_the_blocks(checkpoint, tmp_path, quick_graphs):
    rng = np.random.default_rng(0)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", rng.uniform(-0.5, 0.5, 24), 16000)
    a, b = (str(tmp_path / f"{name}.wav") for name in "ab")
    plain = taken(checkpoint, 0.1, 3)
    after = taken(checkpoint, 0.1, 3, primes=[a, b])
    assert after.shape == plain.shape and not (after == plain).all(axis=1).any()
    only_a = taken(checkpoint, 0.1, 3, primes=[a])  # the sequences take turns
    assert [np.array_equal(*rows) for rows in zip(after, only_a, strict=True)] == [True, False, True]
    np.testing.assert_array_equal(after[:1], taken(checkpoint, 0.1, 1, primes=[a]))


def test_real_numbers_are_brought_back_to_amplitudes(tmp_path, quick_graphs):
    hp = replace(REAL, std=0.001, mean=0.25)
    npz.save(tmp_path / "model.npz", npz.Checkpoint(hp, parameters(hp).arrays()))
    x = taken(tmp_path / "model.npz", 0.01, 2)
    assert x.shape == (2, 160) and 0 < np.abs(x - 0.25).max() < 0.1


def test_errors_come_with_the_first_block(checkpoint, tmp_path):
    for arguments, error in (
        ({"checkpoint": tmp_path / "none.npz"}, CheckpointError),
        ({"checkpoint": checkpoint, "n_seqs": 0}, HyperParameterError),
        ({"checkpoint": checkpoint, "temperature": 0}, HyperParameterError),
        ({"checkpoint": checkpoint, "primes": [tmp_path / "none.wav"]}, DataError),
    ):
        blocks = samplernn_theano.generate(**arguments)
        with pytest.raises(error):
            next(blocks)


def test_the_package_is_imported_at_once_and_generate_when_it_is_used():
    code = """
import sys, samplernn_theano
assert not {"numpy", "pytensor", "numba", "jax", "scipy"} & sys.modules.keys(), sorted(sys.modules)
assert callable(samplernn_theano.generate) and "pytensor" in sys.modules
try:
    samplernn_theano.nothing
except AttributeError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- checkpoints that do not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop("SampleLevel.L2.b"), "SampleLevel.L2.b"),
        (lambda p: p.update(Extra=np.zeros(3)), "Extra"),
        (lambda p: p.update({"SampleLevel.L2.b": np.zeros(5)}), "SampleLevel.L2.b"),
        (lambda p: p.update({"SampleLevel.L2.b": np.full(16, np.nan)}), "not finite"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, change, words):
    hp = ThreeTier(dim=16, emb_size=8, q_levels=32, seq_len=64, batch_size=3)
    params = Parameters()
    build_graph(params, hp)
    arrays = params.arrays()
    change(arrays)
    path = tmp_path / "bad.npz"
    npz.save(path, npz.Checkpoint(hp, arrays))
    with pytest.raises(CheckpointError, match=words):
        next(samplernn_theano.generate(path))
