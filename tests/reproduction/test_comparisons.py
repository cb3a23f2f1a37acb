"""Differences between models on the same clips: what counts as clear, and what the report concludes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from samplernn_theano.reproduction import comparisons, equal_budgets, records, report, scales, tables
from samplernn_theano.reproduction.comparisons import Model, compare
from samplernn_theano.reproduction.equal_budgets import Trained, equal_time
from samplernn_theano.reproduction.experiments import read_experiments
from tests.reproduction.test_report import data, done, no_pictures, read, step, workflow, write_json

__all__ = ["no_pictures"]  # a fixture

PAIR = ("table1/music/three_tier", "table1/music/two_tier")  # in the paper 1.159 and 1.076
UPDATES = (2000, 6000, 12000), (6000, 48000, 54000)


def model(title: str, clips, recordings=None, published=None) -> Model:
    """A model by the bits of its clips (seeds, clips)."""
    by_seed = dict(enumerate(np.atleast_2d(clips)))
    scores = {seed: float(own.mean()) for seed, own in by_seed.items()}
    return Model(title, published, scores, by_seed, recordings)


def p_value(a: Model, b: Model, kind: str = "sound") -> float:
    (pair,) = compare("", "", [a, b]).pairs
    return getattr(pair, kind).p


DESIGNS = {
    "equal": [4] * 8,
    "unequal": [1, 1, 2, 2, 3, 5, 10, 20],
    "single": [1] * 12,
}


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("design", DESIGNS)
def test_equal_models_seldom_differ_clearly_however_alike_the_clips_of_a_recording_are(design, spread):
    """At most 6 % of p-values below 5 %; if each clip counted as one, up to ten times as many would be."""
    rng, counts = np.random.default_rng(1), np.array(DESIGNS[design])
    recordings, n = np.repeat(np.arange(len(counts)), counts), 1500
    noise = rng.standard_normal((n, len(recordings)))
    noise += spread * rng.standard_normal((n, len(counts)))[:, recordings]
    zero = model("b", np.zeros(len(recordings)), recordings)
    found = [p_value(model("a", row, recordings), zero) < 0.05 for row in noise]
    assert np.mean(found) <= 0.06
    if spread and design != "single":
        naive = [p_value(model("a", row), replace(zero, recordings=None)) < 0.05 for row in noise[:300]]
        assert np.mean(naive) > 0.12


def test_a_difference_is_found_where_the_clips_of_all_models_vary_alike():
    """A difference of 5 % of the deviation between clips, which is the same for both models."""
    rng, found = np.random.default_rng(2), []
    recordings = np.repeat(np.arange(30), 2)
    for _ in range(300):
        hard = 2 + rng.standard_normal(60)  # how hard a clip is, for both
        better = hard - 0.05 + 0.06 * rng.standard_normal(30)[recordings] + 0.06 * rng.standard_normal(60)
        found.append(p_value(model("a", better, recordings), model("b", hard, recordings)) < 0.05)
    assert np.mean(found) > 0.9


def test_holms_correction_is_over_all_pairs_of_a_column():
    clips = np.random.default_rng(0).normal(0, 0.1, (4, 20)) + np.array([[0], [0.05], [0.1], [0.5]])
    models = [model(str(i), own) for i, own in enumerate(clips)]
    corrected = {(p.first, p.second): p.sound.p for p in compare("", "", models).pairs}
    raw = {pair: p_value(*(models[int(title)] for title in pair)) for pair in corrected}
    assert len(raw) == 6
    lowest = min(raw, key=raw.__getitem__)
    assert corrected[lowest] == pytest.approx(6 * raw[lowest])
    assert all(corrected[pair] >= raw[pair] for pair in raw)


def test_seeds_and_clips_are_two_questions():
    """The same clips with three seeds: by seed, differences of -1, -2 and -3, the same in all clips."""
    easy = np.random.default_rng(0).normal(2, 1, 10)
    a = model("a", np.stack([easy - i for i in (1, 2, 3)]))
    b = model("b", np.stack([easy] * 3))
    (pair,) = compare("", "", [a, b]).pairs
    assert pair.difference == pytest.approx(-2)
    assert (pair.seeds.over, pair.seeds.n) == ("seeds", 3)
    assert pair.seeds.error == pytest.approx(1 / np.sqrt(3))
    assert pair.seeds.p == pytest.approx(2 * t.sf(2 * np.sqrt(3), 2))
    assert (pair.sound.over, pair.sound.n) == ("clips", 10)
    assert pair.sound.error == pytest.approx(0, abs=1e-12)
    (pair,) = compare("", "", [a, replace(b, scores={1: 2.0, 7: 5.0})]).pairs  # seed 1 is common
    assert pair.difference == pytest.approx(a.mean - 3.5) and pair.seeds is None
    assert pair.sound.mean == pytest.approx(-2)
    assert not compare("", "", [a, replace(b, scores={7: 5.0})]).pairs


@pytest.mark.parametrize("recordings, n, tested", [(4, 4, False), (5, 5, True)])
def test_few_recordings_are_not_tested(recordings, n, tested):
    of = np.repeat(np.arange(recordings), 6)
    clips = np.random.default_rng(0).normal(0, 0.01, len(of))
    (pair,) = compare("", "", [model("a", clips, of), model("b", clips * 0 + 1, of)]).pairs
    assert pair.sound.n == n and (pair.sound.p is not None) == tested == pair.clear(pair.sound)


# Of one recording 28 clips, of 12 others one each: by clips the first is better, by recordings the second.
COUNTS = [28] + [1] * 12
FEWER = np.repeat([-0.2] + [0.15] * 12, COUNTS)


@pytest.mark.parametrize("published, order", [(1.0, "as in the paper"), (None, "not ordered by the paper")])
def test_a_difference_is_that_of_the_table_and_not_clear_if_the_test_has_the_other_sign(published, order):
    of, hard = np.repeat(np.arange(13), COUNTS), np.random.default_rng(0).normal(2, 1, 40)
    a, b = model("a", hard + FEWER, of, published), model("b", hard, of, published and 2 * published)
    (pair,) = compare("", "", [a, b]).pairs
    assert pair.difference == pytest.approx(a.mean - b.mean) == pytest.approx(-0.095)
    assert pair.sound.mean == pytest.approx(1.6 / 13) and pair.sound.p < 0.001
    assert pair.agreement(pair.sound) == f"{order}, not clear (the mean over recordings has the other sign)"


@pytest.mark.parametrize("with_clips", [(0, 1, 2), (0, 1), ()], ids=repr)
def test_the_test_over_seeds_is_of_the_scores_with_or_without_those_of_clips(with_clips):
    of, rng = np.repeat(np.arange(13), COUNTS), np.random.default_rng(0)
    a, b = (model(name, rng.normal(0, 1, (3, 40)), of) for name in "ab")
    a = replace(a, clips={seed: a.clips[seed] for seed in with_clips})
    (pair,) = compare("", "", [a, b]).pairs
    by_seed = [a.scores[seed] - b.scores[seed] for seed in range(3)]
    assert pair.difference == pytest.approx(np.mean(by_seed)) == pytest.approx(pair.seeds.mean)
    assert pair.seeds.error == pytest.approx(np.std(by_seed, ddof=1) / np.sqrt(3))


# --- the report


def scored(out: Path, experiment: str, seed: int, bits, kept=(), recordings=None) -> None:
    """An experiment with the scores of its test clips, by default two of a recording, and of checkpoints."""

    def record(values) -> dict:
        values = [float(value) for value in values]
        own = {"score": float(np.mean(values)), "standard_error": 0.01, "clips": len(values)}
        of = [i // 2 for i in range(len(values))] if recordings is None else recordings
        return own | {"bits_of_clips": values} | ({"recordings": of} if of else {})

    done(out, experiment, float(np.mean(bits)), seed, scale="study")
    step(out, experiment, "evaluate", {"valid": record(bits), "test": record(bits)}, seed, scale="study")
    entries = [{"iteration": i, "test": record(values)} for i, values in kept]
    step(out, experiment, "checkpoints", {"kept": entries}, seed, scale="study")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Two models of Music with two seeds; the 3-tier model learns more of an update, and takes its time."""
    out, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(0)
    workflow(out, "study", seeds=(123, 124))
    data(out, "music", "study", baselines={"unigram": 7.2, "bigram": 4.5, "linear": 2.2})
    hard = rng.normal(0, 0.5, 40)
    for seed in (123, 124):
        for experiment, updates, start in zip(PAIR, UPDATES, (2.0, 2.3), strict=True):
            kept = [(i, start + 1000 / i + hard + rng.normal(0, 0.02, 40)) for i in updates]
            scored(out, experiment, seed, kept[-1][1], kept)
    return out


def test_the_report_compares_after_equal_updates_and_after_equal_time(study, no_pictures):
    page = read(report.write(study))
    rates = [scales.seconds_per_update("study", experiment) for experiment in PAIR]
    assert rates == [0.10121, 0.02395]
    rows = [page.cells[i : i + 9] for i, cell in enumerate(page.cells) if cell.startswith("SampleRNN (")]
    (three,) = [row for row in rows if row[1:4] == ["2", "0.101", "6,000"]]
    (two,) = [row for row in rows if row[1:4] == ["2", "0.0239", "6,000"]]
    assert three[6:8] == ["12,000", "20.2"] and two[6:8] == ["48,000", "19.2"]
    assert [float(row[5]) for row in (three, two)] == pytest.approx([2.167, 2.467], abs=0.2)
    for after in ("after 6,000 updates", "after 20.2 minutes"):
        assert f"Table 1, Music, {after}. Over 20 recordings: 0 of 1 pairs as in the paper" in page.text
    opposite = (
        "0 of 1 pairs as in the paper, clear; opposite, clear: SampleRNN (2-tier) < SampleRNN (3-tier)."
    )
    assert page.text.count(f"Over 2 seeds: {opposite}") == 3  # with that of the best checkpoints
    cell = next(cell for cell in page.cells if cell.startswith("opposite, clear"))
    assert cell.splitlines()[1].startswith("p < 0.0001, error 0.00") and "20 recordings" in cell
    assert (study / "report/pictures/equal_table1_music.png").exists()


def test_the_report_shows_the_mean_of_a_test_where_it_differs_from_the_difference_of_the_scores(
    tmp_path, no_pictures
):
    workflow(tmp_path, "study")
    of = np.repeat(np.arange(13), COUNTS).tolist()
    scored(tmp_path, PAIR[1], 123, 2 + FEWER, recordings=of)
    scored(tmp_path, PAIR[0], 123, np.full(40, 2.0), recordings=of)
    page = read(report.write(tmp_path))
    start = page.cells.index("SampleRNN (2-tier) - SampleRNN (3-tier)")
    assert page.cells[start + 1] == "-0.095"
    other = "as in the paper, not clear (the mean over recordings has the other sign)"
    assert page.cells[start + 3].splitlines()[0] == other
    assert "mean +0.123, error 0.027, 13 recordings" in page.cells[start + 3]
    assert f"Over 13 recordings: 0 of 1 pairs as in the paper, clear; {other}" in page.text


CAUTIONS = {
    "shared": (
        {"valid": 0, "test": 12},
        None,
        '12 of 256 test clips come from recordings that train holds too, so for these "new sound" means '
        "other parts of the same recordings.",
    ),
    "apart": ({"valid": 3, "test": 0}, None, ""),
    "older": (3, None, "Whether train holds the recordings of the test clips too is unknown."),
    "unknown": (None, [], "Recordings unknown: clips are taken as independent, p may be too small."),
}


@pytest.mark.parametrize("case", CAUTIONS)
def test_the_report_says_what_limits_a_test_on_new_sound(tmp_path, no_pictures, case):
    """Beside the tests of the best checkpoints, and of those after equal updates; and in the conclusions."""
    shared, recordings, expected = CAUTIONS[case]
    workflow(tmp_path, "study")
    data(tmp_path, "music", "study", shared=shared)
    for experiment in PAIR:
        bits = np.random.default_rng(len(experiment)).normal(2, 1, 12)
        scored(tmp_path, experiment, 123, bits, [(6000, bits)], recordings)
    text = read(report.write(tmp_path)).text
    every = [words for _, _, words in CAUTIONS.values() if words and words in text]
    assert every == ([expected] if expected else [])
    assert not expected or (f"New sound, Table 1, Music: {expected}" in text and text.count(expected) >= 3)


def test_models_are_judged_by_the_baselines_of_their_set(study, no_pictures):
    page = read(report.write(study))
    expected = (
        "of 4 trained models, by test NLL, 4 below the distribution of levels (7.200), 4 below that after"
    )
    assert expected in page.text and "2 below linear prediction (2.200) bits per sample" in page.text
    assert "7.200, 4.500, 2.200" in page.cells


@pytest.mark.parametrize(
    "kept", [None, 3, [], [3], [{"iteration": 6000}], [{"iteration": "x", "test": {"score": 1.0}}]], ids=repr
)
def test_damaged_scores_of_checkpoints_count_as_not_there(tmp_path, kept):
    workflow(tmp_path, "study")
    for experiment in PAIR:
        scored(tmp_path, experiment, 123, np.ones(6))
        step(tmp_path, experiment, "checkpoints", {"kept": kept}, scale="study")
    known = read_experiments()
    found = records.read(tmp_path, known)
    table = tables.fill(tables.layouts(known)[0], found, known, [])
    assert equal_budgets.of_table(table, found) == [] and len(comparisons.of_table(table, found)) == 1


def test_without_a_time_per_update_only_equal_updates_are_compared(tmp_path, no_pictures):
    write_json(tmp_path / "workflow.json", {"scale": "laptop", "cells": {}})
    for experiment in PAIR:
        scored(tmp_path, experiment, 123, np.arange(6), [(100, np.arange(6)), (200, np.arange(6))])
    text = read(report.write(tmp_path)).text
    assert "after 200 updates" in text and "seconds of an update of some of them are unknown" in text


def test_equal_time_is_when_the_times_are_the_most_equal():
    def trained(updates, rate) -> Trained:
        return Trained(None, {123: {i: {"score": 1.0} for i in updates}}, rate)

    models = [trained((10, 20, 30), 1.0), trained((9, 19, 29, 39), 1.0), trained((1, 2), 14.0)]
    assert equal_time(models) == [20, 19, 1]  # 20, 19 and 14 s; at 28 s, 20, 19 and 28 s
    assert equal_time(models[:2]) == [30, 29]  # the latest of all that are as equal
    assert equal_time([trained((10,), 1.0), trained((100,), 1.0)]) is None
    assert equal_time([trained((10,), None), trained((10,), 1.0)]) is None
