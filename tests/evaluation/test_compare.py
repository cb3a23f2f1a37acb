"""Comparisons report the differences of models that were made to differ in a known way."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import RNNGMM, OneTier, TwoTier, WaveNet
from samplernn_theano.data.dataset import load_split
from samplernn_theano.evaluation import compare, nll, score_figures
from samplernn_theano.evaluation.nll import Scores
from tests.evaluation.conftest import model_of, run, save

GOLDEN = Path(__file__).parents[1] / "golden"
MUSIC = GOLDEN / "feeders" / "corpus" / "music"
TWO_TIER, THREE_TIER = (
    next((GOLDEN / "checkpoints" / name).iterdir()) for name in ("results_2t", "results_3t")
)
HP = TwoTier(dim=6, emb_size=3, q_levels=8, n_frames=4, frame_size=2, n_rnn=1, batch_size=2)


def model(hp, seed=123) -> LoadedModel:
    return model_of(hp, 1, seed)


def changed(saved: LoadedModel, **arrays) -> LoadedModel:
    """The same with other values of some parameters, whose dots are written as __."""
    return replace(saved, parameters=saved.parameters | {n.replace("__", "."): a for n, a in arrays.items()})


# --- parameters


def test_equal_models_are_equal_bit_for_bit():
    a, b = model(HP), model(HP)
    found = compare.compare(a, b)
    assert found.equal and not found.settings and len(found.distances) == len(a.parameters)
    assert all(d.relative == d.largest == 0 for d in found.distances.values())
    assert compare.describe_comparison(found).endswith(f"all {len(a.parameters)} are equal, bit for bit")
    h0 = b.parameters["FrameLevel.h0"].copy()
    h0[0, 0] = np.nextafter(np.float32(h0[0, 0]), np.float32(1))
    found = compare.compare(a, changed(b, FrameLevel__h0=h0))
    assert not found.equal and "bit for bit" not in compare.describe_comparison(found)


def test_distances_are_relative_to_a():
    a = model(HP)
    table = a.parameters["SampleLevel.Embedding"]
    b = changed(a, SampleLevel__Embedding=table * 1.5, SampleLevel__L2__b=np.full(6, 0.25, np.float32))
    distances = compare.compare(a, b).distances
    assert distances["SampleLevel.Embedding"].relative == pytest.approx(0.5)
    assert distances["SampleLevel.Embedding"].largest == pytest.approx(np.abs(table).max() / 2)
    assert distances["SampleLevel.L2.b"].relative == np.inf  # of A it is zero
    assert compare.compare(b, a).distances["SampleLevel.L2.b"].relative == 1
    assert {n for n, d in distances.items() if d.relative} == {"SampleLevel.Embedding", "SampleLevel.L2.b"}


def test_effective_weights_see_gains_and_not_lengths():
    a = model(HP)
    W, g = (a.parameters[f"SampleLevel.L2.{part}"] for part in ("W0", "g0"))
    longer = compare.compare(a, changed(a, SampleLevel__L2__W0=W * np.linspace(1, 3, 6, dtype=np.float32)))
    assert longer.distances["SampleLevel.L2.W0"].relative > 0.5
    assert longer.distances["SampleLevel.L2.W0"].effective == pytest.approx(0, abs=1e-7)
    louder = compare.compare(a, changed(a, SampleLevel__L2__g0=g * np.float32(1.25)))
    assert louder.distances["SampleLevel.L2.W0"].relative == 0
    assert louder.distances["SampleLevel.L2.W0"].effective == pytest.approx(0.25)
    assert louder.distances["SampleLevel.L2.g0"].relative == pytest.approx(0.25)
    with_effective = {n for n, d in louder.distances.items() if d.effective is not None}
    assert with_effective == {n for n in a.parameters if n.endswith(".W0")}
    bare = model(replace(HP, weight_norm=False))
    assert all(d.effective is None for d in compare.compare(bare, bare).distances.values())


def test_models_of_different_families():
    a, b = model(HP), model(OneTier(dim=6, emb_size=3, q_levels=8, seq_len=8, batch_size=2))
    found = compare.compare(a, b)
    assert found.settings["family"] == ("two_tier", "one_tier")
    assert found.settings["frame_size"] == (2, "-") and found.settings["seq_len"] == ("-", 8)
    assert "dim" not in found.settings
    assert "FrameLevel.h0" in found.only_a and "SampleLevel.h0" in found.only_b
    assert "SampleLevel.L2.W0" in found.distances
    text = compare.describe_comparison(found)
    assert "n_frames: 4 in A, - in B" in text and "FrameLevel.h0" in text


def test_shapes_that_differ_are_reported():
    found = compare.compare(model(HP), model(replace(HP, dim=5)))
    assert found.shapes["SampleLevel.L2.W0"] == ((6, 6), (5, 5))
    assert found.distances.keys() == {
        f"SampleLevel.{name}" for name in ("Embedding", "Output.b", "Output.g0")
    }
    assert "SampleLevel.L2.b: (6,) in A, (5,) in B" in compare.describe_comparison(found)
    nothing = compare.compare(model(HP), model(WaveNet(dim=2, wavenet_blocks=1, dilation_layers_per_block=1)))
    assert not nothing.distances and "No parameter" in compare.describe_comparison(nothing)


# --- costs


def test_each_is_scored_with_its_own_hyperparameters(quick_graphs):
    """With other batch sizes, the clips that both score are paired."""
    clips = load_split(MUSIC, "valid")[:7]
    a, b = model(HP), model(replace(HP, batch_size=3), seed=1)
    scores = compare.score_both(a, b, clips)
    alone = [nll.score_split(nll.compile_scorer(m), clips) for m in (a, b)]
    for both, one in zip(scores, alone, strict=True):
        assert both.bits == one.bits
        np.testing.assert_array_equal(both.clips, one.clips)
    assert [len(s.clips) for s in scores] == [6, 6] and scores[0].left_out == 1
    same = compare.score_both(a, model(HP, seed=1), clips)[1]
    np.testing.assert_allclose(same.clips, scores[1].clips, rtol=1e-6)


def test_the_difference_is_paired_and_counted():
    a = Scores(2.0, np.array([2.0, 1.0, 3.0, 2.0]), 1)
    b = Scores(1.5, np.array([1.0, 1.5, 2.0]), 2)
    np.testing.assert_array_equal(compare.differences(a, b), [1.0, -0.5, 1.0])
    text = compare.describe_scores(a, b, "valid", HP, HP)
    assert "A, valid: 2.0000 bits" in text and "B, valid: 1.5000 bits" in text
    assert "A - B: +0.5000 bits per sample, mean over 3 clips" in text
    assert "standard error 0.5000, paired" in text  # deviation sqrt(0.75), over sqrt(3)
    assert "A is better in 1, B in 2" in text
    b = replace(b, recordings=np.array([4, 4, 9]))  # sums of deviations -0.5 and 0.5: sqrt(2 * 0.5) / 3
    assert "standard error 0.3333 over 2 recordings (3 clips), paired" in compare.describe_scores(
        a, b, "valid", HP, HP
    )


def test_bits_of_other_samples_do_not_compare():
    scores = Scores(1.0, np.ones(2), 0)
    text = {
        "q_levels": compare.describe_scores(scores, scores, "test", HP, replace(HP, q_levels=16)),
        "levels and real": compare.describe_scores(scores, scores, "test", HP, RNNGMM(mean=0.0, std=1.0)),
    }
    assert all("do not compare" in words and why in words for why, words in text.items())
    assert "do not compare" not in compare.describe_scores(scores, scores, "test", HP, replace(HP, dim=3))


# --- the picture


def test_the_picture_shows_every_parameter_and_clip(tmp_path, drawn):
    distances = {"W": (0.5, 0.25), "b": (float("inf"), None), "zero": (0.0, 0.0), "h0": (0.1, None)}
    score_figures.plot_comparison(tmp_path / "a.png", distances, np.array([0.3, -0.1, 0.2]))
    bars, clips = drawn[0].axes
    assert [text.get_text() for text in bars.get_yticklabels()] == list(distances)
    lengths = [bar.get_width() for bar in bars.patches]
    assert [lengths[0], lengths[2], lengths[3]] == [0.5, 0, 0.1] and lengths[1] == bars.get_xlim()[1]
    assert [text.get_text() for text in bars.texts] == ["0.5", "inf", "0", "0.1"]
    assert bars.lines[0].get_xydata().tolist() == [[0.25, 0]]  # the effective weight
    assert bars.get_ylim()[0] > bars.get_ylim()[1]  # the first name on top
    np.testing.assert_allclose(clips.lines[0].get_ydata(), [-0.1, 0.2, 0.3])
    assert "+0.1333" in clips.get_legend().get_texts()[0].get_text()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [0, 1, 30])
def test_the_picture_of_any_number_of_names(tmp_path, n):
    score_figures.plot_comparison(tmp_path / "a.png", {f"name{i}": (0.0, None) for i in range(n)})
    distances = {f"name{i}": (i / 10, i / 9) for i in range(n)}
    score_figures.plot_comparison(tmp_path / "a.png", distances, np.zeros(1))
    assert matplotlib.image.imread(tmp_path / "a.png").shape[0] > 15 * n


# --- the command


def test_the_originals_runs_side_by_side(tmp_path, capsys):
    first = next((TWO_TIER / "params").glob("*_i40_*"))
    assert run("compare", first, TWO_TIER, "--data", MUSIC, "--out", tmp_path / "a.png") == 0
    out = capsys.readouterr().out
    assert re.search(r"A is .*_i40_.*two_tier, hyper-parameters of args.pkl\nB is .*_i97_", out)
    assert "Hyper-parameters: equal" in out
    assert re.search(r"^  SampleLevel.L2.W0 +0\.0508 +0\.0494 +0\.0523$", out, re.M)
    assert "A, valid: 5.1320 bits" in out and "B, valid: 4.9141 bits" in out  # as the files' names say
    assert "A - B: +0.2180" in out and "A is better in 0, B in 8" in out
    assert (tmp_path / "a.png").stat().st_size > 10000


def test_models_that_share_little(capsys):
    assert run("compare", TWO_TIER, THREE_TIER) == 0
    out = capsys.readouterr().out
    assert "family: two_tier in A, three_tier in B" in out and "bits" not in out
    assert "FrameLevel.h0: (2, 16) in A, (1, 16) in B" in out


def test_errors_are_a_sentence(tmp_path, capsys):
    save(tmp_path / "a.npz", HP, model(replace(HP, dim=5)).parameters)
    for words, sentence in {
        (TWO_TIER, tmp_path / "gone"): "There is no file .*gone",
        (TWO_TIER, TWO_TIER, "--data", tmp_path): r"has no file named \*_valid.npy",
        (TWO_TIER, THREE_TIER, "--set", "n_frames=2"): "unrecognized arguments: --n_frames=2",
        (TWO_TIER, tmp_path / "a.npz", "--data", MUSIC): "a.npz .*has shape",
    }.items():
        assert run("compare", *words) == 2
        err = capsys.readouterr().err
        assert re.search(sentence, err) and err.count("\n") == 1, err
