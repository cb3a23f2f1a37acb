"""The schedule of a run: the original's, and those stored by this version and earlier ones."""

import json
from dataclasses import asdict
from math import inf, nan

import numpy as np
import pytest

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.schedule import (
    Progress,
    Schedule,
    best_of,
    current_rate,
    improved,
    original_schedule,
    stored_schedule,
)
from samplernn_theano.errors import HyperParameterError


@pytest.mark.parametrize("family", FAMILIES)
def test_wavenet_is_trained_otherwise(family):
    expected = (0.0001, 60 * 60, 10) if family == "wavenet" else (0.001, 72 * 60, 20)
    schedule = original_schedule(FAMILIES[family])
    assert (schedule.learning_rate, schedule.max_minutes, schedule.n_seqs) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, 0, "must be a positive number") for name in ("max_iters", "max_epochs", "keep", "patience")),
        *((name, -1, "must be a positive number") for name in ("max_iters", "monitor_minutes")),
        ("n_seqs", -1, "must be a positive number or 0."),
        *((name, nan, "must be a positive number") for name in ("max_minutes", "sample_seconds")),
        ("sample_seconds", inf, "must be a positive number"),
        *((name, nan, "must be a whole number") for name in ("max_iters", "n_seqs")),
        *(
            (name, True, "must be a (whole )?number")
            for name in ("max_iters", "max_minutes", "learning_rate")
        ),
        *((name, "5", "must be a (whole )?number") for name in ("max_iters", "save_minutes", "max_epochs")),
        *((name, [5], "must be a (whole )?number") for name in ("keep", "monitor_minutes")),
        *((name, 1.5, "must be a whole number") for name in ("max_iters", "patience", "n_seqs")),
        *((name, None, "must be a (whole )?number") for name in ("keep", "save_minutes")),
        ("learning_rate", 0.0, "must be a positive number"),
        *(("later_rate", value, "must be a positive number") for value in (0.0, -1.0, nan, inf)),
        ("later_from", 0, "must be a positive number"),
    ],
)
def test_values_that_are_none_of_a_schedule(name, value, message):
    with pytest.raises(HyperParameterError, match=f"^--{name.replace('_', '-')} is .*; it {message}[^\n]*$"):
        Schedule(**{name: value})


@pytest.mark.parametrize("given", [{"later_rate": 0.0001}, {"later_from": 5}])
def test_a_later_rate_says_from_when(given):
    with pytest.raises(HyperParameterError, match="^--later-.* needs --later-[^\\n]*$"):
        Schedule(**given)


def test_the_learning_rate_of_an_iteration():
    schedule = Schedule(learning_rate=0.1, later_rate=0.01, later_from=5)
    assert [current_rate(schedule, Progress(iteration=n)) for n in (0, 4, 5, 6)] == [0.1, 0.1, 0.01, 0.01]
    assert current_rate(Schedule(learning_rate=0.1), Progress(iteration=9)) == 0.1


def test_numbers_of_numpy_are_stored_as_those_of_python():
    schedule = Schedule(max_iters=np.int64(5), max_minutes=np.float32(0.5), max_epochs=1.5)
    assert json.loads(json.dumps(asdict(schedule))) == asdict(Schedule(5, 1.5, 0.5))


@pytest.mark.parametrize(
    "values",
    [{"iteration": "5"}, {"iteration": -1}, {"seconds": nan}, {"batches_per_epoch": 0}, {"eval_due": 1}],
)
def test_progress_that_cannot_be(values):
    (name,) = values
    with pytest.raises(HyperParameterError, match=f"{name.replace('_', '.')} is"):
        Progress(**values)


def test_stored_schedules():
    schedule = asdict(Schedule(max_iters=5, learning_rate=0.01))
    assert stored_schedule({"schedule": schedule}) == schedule
    old = {name: value for name, value in schedule.items() if name != "learning_rate"}
    assert stored_schedule({"schedule": old, "learning_rate": 0.01}) == schedule
    assert stored_schedule({"learning_rate": 0.01}) == {"learning_rate": 0.01}  # converted from the original
    assert stored_schedule({}) == stored_schedule({"schedule": None}) == {}


@pytest.mark.parametrize(
    ("costs", "best"),
    [([3.0, 2.0, 2.0], 1), ([nan, 3.0, inf], 1), ([2.0, -inf, nan], 0), ([nan, inf, -inf], None), ([], None)],
)
def test_the_best_has_the_lowest_finite_cost(costs, best):
    assert best_of(range(len(costs)), costs.__getitem__) == best


@pytest.mark.parametrize(
    ("lowest", "cost", "expected"),
    [(None, 3.0, True), (nan, 3.0, True), (-inf, 3.0, True), (3.0, 3.0, False), (3.0, nan, False)],
)
def test_a_cost_improves_on_what_is_no_number(lowest, cost, expected):
    assert improved(Progress(best_valid=lowest), cost) is expected
