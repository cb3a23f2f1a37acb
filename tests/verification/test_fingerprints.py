"""A model of the paper's size is the authors', as far as costs and fingerprints tell."""

import json

import numpy as np
import pytest

from samplernn_theano.cli.main import main
from samplernn_theano.config.flags import from_original_argv
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.training.step import compile_trainer
from samplernn_theano.verification import cases as case_files
from samplernn_theano.verification import fingerprints, verify
from tests.verification.test_verify import adam_of_float64_constants, check

NAMES = ["one_tier", "three_tier", "two_tier"]

SMALL = (
    "models/two_tier/two_tier.py --exp SMALL --n_frames 4 --frame_size 4 --weight_norm True --emb_size 16 "
    "--skip_conn False --dim 16 --n_rnn 1 --rnn_type GRU --learn_h0 True --q_levels 256 --q_type linear "
    "--which_set MUSIC --batch_size 4"
).split()
N = 3  # updates of the small case


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_papers_size_is_the_authors(cases, name):
    folder = cases.parent / "full"
    assert name in [path.stem for path in case_files.find_cases(folder)]
    checks = check(folder, name)
    n = len(np.load(folder / f"{name}.npz")["costs"])
    # Two of the draws; per update its cost and two of its states; four after two updates; Adam's first step.
    assert len(checks) == 2 + 3 * n + 2 * 4 + 1


def test_every_case_is_here(cases):
    found = case_files.choose_cases(cases.parent / "full")
    assert [case.name for case in found] == NAMES and all(case.has_fingerprints for case in found)
    assert not any(case.has_fingerprints for case in case_files.choose_cases(cases))
    for case in found:
        hp, _ = from_original_argv(FAMILIES[case.family], case.settings["argv"])
        assert (hp.dim, hp.batch_size) == (1024, 128)


def test_a_fingerprint_is_norm_sum_and_four_projections():
    x = np.array([[3, 0, 0, 0], [0, -4, 0, 0]], np.float32)
    assert fingerprints.fingerprint(x).tolist() == [5, -1, 7, -1, 7, 7]  # signs of seeds 1000 to 1003
    assert fingerprints.fingerprint(np.zeros(3)).tolist() == [0.0] * 6


def test_the_walks_are_reflected_and_begin_anew():
    first, second = fingerprints.walks(2, 128, 520)
    assert first.dtype == np.int32 and first.shape == second.shape == (128, 520)
    assert first.min() == 0 and first.max() == 255
    # The first numbers of seed 0, and the first of the second minibatch, which continues the stream.
    assert first[0, :6].tolist() == [255, 253, 244, 255, 247, 238]
    assert second[0, :6].tolist() == [248, 250, 243, 253, 250, 239]
    assert np.max(np.abs(np.diff(first, axis=1))) == 12
    assert np.array_equal(next(fingerprints.walks(1, 128, 520)), first)
    longer = next(fingerprints.walks(1, 2, 5000))
    assert np.max(np.abs(np.diff(longer, axis=1))) == 12 and longer.max() == 255 and longer.min() == 0


# --- a small case, made here --------------------------------------------------------------------------------


def six_numbers(x):
    x = np.asarray(x, np.float64).ravel()
    signs = [np.random.RandomState(1000 + j).choice([-1.0, 1.0], x.size) for j in range(4)]
    return np.array([np.sqrt(np.sum(x**2)), np.sum(x), *(np.sum(x * s) for s in signs)])


@pytest.fixture(scope="module")
def small_arrays():
    """What the original would leave of a model of dim 16, here from our own graph."""
    hp, _ = from_original_argv(FAMILIES["two_tier"], SMALL)
    trainer = compile_trainer(hp, backend="jax")
    graph = trainer.graph
    arrays = {f"init/{name}": six_numbers(x) for name, x in graph.parameters.arrays().items()}
    rng, states, costs = np.random.RandomState(0), trainer.zero_states(), []
    for i in range(N):
        s = np.cumsum(rng.randint(-12, 13, (4, hp.seq_len + hp.overlap)), axis=1)
        s = np.abs((s % 512) - 256).clip(0, 255).astype(np.int32)
        cost_i, *states = trainer.step(s, np.ones(s.shape, np.float32), np.int32(i == 0), *states)
        costs.append(float(cost_i))
        arrays |= {f"states{i}/{j}": six_numbers(state) for j, state in enumerate(states)}
        if i in (0, N - 1):
            parameters = graph.parameters.arrays()
            arrays |= {f"after{i + 1}/{name}": six_numbers(x) for name, x in parameters.items()}
    return arrays | {"costs": np.array(costs)}


def save(folder, arrays, **settings):
    (folder / "small.json").write_text(json.dumps({"argv": SMALL, "seed": 123, "updates": N} | settings))
    np.savez(folder / "small.npz", **arrays)


def test_a_case_of_fingerprints_passes(tmp_path, capsys, small_arrays):
    save(tmp_path, small_arrays)
    assert main(["conformance", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "20 checks passed, 0 failed, in 1 cases" in out
    assert "corpus" not in out  # it has no minibatches that could be checked
    assert "cost, update 3" in out and "Adam's first step" in out


@pytest.mark.parametrize(
    "key", ["init/SampleLevel.L2.W0", "init/FrameLevel.GRU1.Step.Recurrent_Candidate.W0"]
)
def test_an_altered_fingerprint_fails_and_is_named(tmp_path, capsys, small_arrays, key):
    save(tmp_path, small_arrays | {key: small_arrays[key] * 1.001})
    assert main(["conformance", str(tmp_path), "--brief"]) == 1
    out = capsys.readouterr().out
    (failure,) = [line for line in out.splitlines() if "FAIL" in line]
    assert failure.endswith(f"worst: {key}")
    assert "1 checks passed, 1 failed" in out and "cost" not in out  # all that follows would differ too


def test_every_kind_of_number_is_compared(small_arrays):
    altered = {
        ("costs, later", "costs", 1),
        ("states, update 1: norms", "states0/0", 0),
        ("states, later: sums", "states1/0", 1),
        ("weights, update 1: norms", "after1/FrameLevel.GRU1.Step.Input.g0", 0),
        ("weights, update 1: sums", "after1/SampleLevel.L1_PrevSamples.W0", 5),
        ("biases, update 1: norms", "after1/SampleLevel.Output.b", 0),
        ("Adam's first step", "after1/SampleLevel.Output.b", 0),
        ("biases, update 1: sums", "after1/FrameLevel.h0", 2),
        ("weights, later: norms", "after3/SampleLevel.Output.W0", 0),
        ("weights, later: sums", "after3/SampleLevel.Embedding", 4),
        ("biases, later: norms", "after3/SampleLevel.L3.b", 0),
        ("biases, later: sums", "after3/FrameLevel.Output.b", 3),
    }
    arrays = {key: array.copy() for key, array in small_arrays.items()}
    for _, key, number in altered:
        arrays[key][number] += 0.1 * small_arrays[key][0]
    case = case_files.Case("small", "two_tier", {"argv": SMALL}, arrays)
    failed = [check for check in verify.check_case(case, "jax") if not check.passed]
    named = {(kind, "" if key == "costs" else f"worst: {key}") for kind, key, _ in altered}
    assert {(check.kind, check.note) for check in failed} == named and len(failed) == len(altered)


def test_other_initial_parameters_end_the_case(tmp_path, capsys, small_arrays):
    for old, new, words in (("16", "20", "FAIL"), ("True", "False", "names of the parameters")):
        save(tmp_path, small_arrays, argv=[word if word != old else new for word in SMALL])
        assert main(["conformance", str(tmp_path)]) == 1
        out = capsys.readouterr().out
        assert words in out and "cost, update" not in out


def test_adams_constants_formed_in_float64_show_in_adams_first_step(small_arrays, monkeypatch):
    monkeypatch.setattr(verify.optimizer, "adam", adam_of_float64_constants)
    case = case_files.Case("small", "two_tier", {"argv": SMALL}, small_arrays)
    failed = [check for check in verify.check_case(case, "jax") if not check.passed]
    assert [check.kind for check in failed] == ["Adam's first step"]


@pytest.mark.parametrize("key", ["costs", "states2/0", "after1/SampleLevel.L3.b", "after3/FrameLevel.h0"])
def test_an_incomplete_case_fails_before_it_is_computed(tmp_path, capsys, small_arrays, key):
    save(tmp_path, {name: x for name, x in small_arrays.items() if name != key})
    assert main(["conformance", str(tmp_path)]) == 1
    first, *rest = capsys.readouterr().out.strip().splitlines()
    assert f"small lacks '{key}'" in first and first.endswith("FAIL")
    assert "0 checks passed, 0 failed, in 1 cases; 1 cases incomplete" in rest[-1]


@pytest.mark.parametrize("key", ["costs", "states1/0", "init/SampleLevel.L3.b"])
def test_a_damaged_case_is_refused_in_one_line(tmp_path, capsys, small_arrays, key):
    save(tmp_path, small_arrays | {key: np.zeros(()) if key == "costs" else np.zeros(5)})
    assert main(["conformance", str(tmp_path)]) == 2
    (error,) = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("samplernn: ") and key in error and "small" in error


def test_a_fingerprint_that_is_nan_fails(small_arrays):
    damaged = small_arrays | {"init/SampleLevel.L2.W0": np.full(6, np.nan)}
    case = case_files.Case("small", "two_tier", {"argv": SMALL}, damaged)
    assert [check.passed for check in verify.check_case(case, "jax")] == [False, True]
