"""The statistics of votes hold for other listeners and other sounds, by simulation and by hand."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from samplernn_theano.listening import analysis, pairs, statistics

PATH = Path(__file__).parents[2] / "benchmarks" / "listening.py"
SPEC = importlib.util.spec_from_file_location("benchmark_of_listening", PATH)
assert SPEC is not None and SPEC.loader is not None
sim = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sim)

TESTS = 1500  # of a share of 4 % the standard error is 0.5 %
SMALL = sim.Setting(listeners=6, clips=8, sd=0, band=0.7)
USUAL = sim.Setting(listeners=30, clips=20, sd=0)


@pytest.mark.parametrize("sd", [0, 0.5, 1])
@pytest.mark.parametrize("setting", [SMALL, USUAL], ids=["small", "usual"])
def test_equal_systems_seldom_differ_however_unequal_their_sounds(setting, sd):
    setting = replace(setting, sd=sd)
    found = sim.estimates(setting, TESTS)
    assert setting.preference() == pytest.approx(0.5)
    assert 0.01 <= sim.significant(found) <= 0.06
    assert sim.coverage(found, setting) >= 0.93
    # what the same votes say if only the listeners are taken for a sample
    assert (sim.listeners_only(setting, TESTS // 3) > 0.08) == bool(sd)


@pytest.mark.parametrize(("sd", "difference", "power"), [(0, 0.3, 0.5), (0.5, 0.5, 0.55), (1, 1, 0.6)])
def test_systems_that_differ_are_told_apart(sd, difference, power):
    setting = replace(USUAL, sd=sd, difference=difference)
    found = sim.estimates(setting, TESTS // 3)
    assert sim.significant(found) > power
    assert sim.coverage(found, setting) >= 0.93


def test_more_sounds_tell_more():
    setting = replace(USUAL, sd=1, difference=0.5)
    few, many = (sim.estimates(replace(setting, clips=clips), 100) for clips in (8, 200))
    assert sim.significant(few) < 0.3 and sim.significant(many) > 0.65


def test_the_mean_preference_is_over_listeners_and_sounds():
    # three equal systems, whose sounds differ much, with 20 pairs per listener
    rng, sounds = np.random.default_rng(0), 20
    system_of = {f"{i}": f"{i // sounds}" for i in range(3 * sounds)}
    drawn = np.array([pairs.draw(system_of, 20, f"{i}") for i in range(30)], int).reshape(-1, 2)
    rows = np.column_stack([np.repeat(np.arange(30), 20), drawn // sounds, drawn, np.zeros(len(drawn), int)])
    covered = []
    for _ in range(TESTS // 3):
        effects = rng.standard_normal(3 * sounds)
        a, b = effects[drawn].T
        rows[:, 5] = np.where(a - b + rng.logistic(size=len(rows)) > 0, 1, -1)
        own = analysis.votes_on(rows, 0)
        found = statistics.estimate((own[:, 5] + 1) / 2, own[:, [0, 3, 4]].T, own[:, 2])
        covered.append(found.low <= 0.5 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.99


def test_in_a_complete_design_the_variances_are_those_of_an_analysis_of_variance():
    shape = (6, 5, 4)  # listeners, sounds of both systems: everybody votes on all pairs
    rng = np.random.default_rng(1)
    listener, a, b = (rng.normal(size=n) for n in shape)
    leaning = listener[:, None, None] + a[:, None] + b + rng.normal(size=shape)
    votes = (leaning > 0).astype(float)
    units = np.indices(shape).reshape(3, -1)
    found = statistics.estimate(votes.ravel(), units, np.zeros(votes.size, int))
    mean, size = votes.mean(), votes.size
    means = [votes.mean(axis=tuple({0, 1, 2} - {i})) for i in range(3)]
    freedom = np.array([n - 1 for n in shape])
    squares = np.array([size / len(m) * ((m - mean) ** 2).sum() for m in means])
    rest = (((votes - mean) ** 2).sum() - squares.sum()) / (size - 1 - freedom.sum())
    parts = squares / freedom - rest
    assert (parts > 0).all()
    variance = (parts.sum() + rest) / size
    degrees = (variance * size) ** 2 / (((parts + rest) ** 2 / freedom).sum() + rest**2 / freedom.sum())
    score = abs(mean - 0.5) / np.sqrt(variance * 0.25 / (mean * (1 - mean)))
    assert found.value == mean
    assert found.p_value == pytest.approx(2 * student.sf(score, degrees), rel=1e-9)
    for limit in (found.low, found.high):  # where the same test has p = 0.05
        score = abs(mean - limit) / np.sqrt(variance * limit * (1 - limit) / (mean * (1 - mean)))
        assert 2 * student.sf(score, degrees) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("listeners", "sounds", "p"),
    [(1, 20, 1), (20, 1, 1), (5, 20, 1 / 16), (20, 6, 1 / 32), (6, 6, 1 / 32), (12, 20, 2**-11)],
)
def test_unanimous_votes_prove_as_much_as_there_are_listeners_and_sounds(listeners, sounds, p):
    units = np.indices((listeners, sounds)).reshape(2, -1)[[0, 1, 1]]
    votes = np.ones(units.shape[1])
    found = statistics.estimate(votes, units, np.zeros(len(votes), int))
    assert (found.value, found.high, found.p_value) == (1, pytest.approx(1), pytest.approx(p))
    assert found.low == pytest.approx(0.025 ** (1 / min(listeners, sounds)))  # Clopper and Pearson 1934
    other = statistics.estimate(1 - votes, units, np.zeros(len(votes), int))
    assert (1 - other.high, other.p_value) == (pytest.approx(found.low), pytest.approx(p))
    even = statistics.estimate(votes / 2, units, np.zeros(len(votes), int))
    assert (even.value, even.p_value) == (0.5, 1) and even.low < 0.5 < even.high


@pytest.mark.parametrize("unit", [0, 1, 2], ids=["listeners", "sounds", "sounds of the other"])
def test_votes_on_the_same_of_one_mind_are_one_vote(unit):
    # of 12 listeners and 12 sounds of each system, seven are for A and five for B whatever else differs
    units = np.indices((12, 12))[[0, 1, 1]]
    units[2] = (units[0] + units[1]) % 12
    votes = (units[unit] < 7).astype(float).ravel()
    found = statistics.estimate(votes, units.reshape(3, -1), np.zeros(144, int))
    free = statistics.estimate(
        np.random.default_rng(0).permutation(votes), units.reshape(3, -1), np.zeros(144, int)
    )
    assert found.high - found.low > 0.45 > 0.25 > free.high - free.low


def test_corrected_p_values_by_hand():
    assert statistics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
