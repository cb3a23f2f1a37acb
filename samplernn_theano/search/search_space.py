"""The search space: ranges of hyper-parameters, read from a file, and the values drawn for each trial.

A file of ranges:

    family = "three_tier"
    fixed = ["--batch_size 64"]         # the same in every trial; all others are the preset's
    [ranges.n_rnn]
    choices = [1, 2, 3]                 # with equal probability
    [ranges.learning_rate]
    low = 1e-4                          # uniform between low and high, both included if integers
    high = 3e-3
    log = true                          # uniform in the logarithm
    [ranges.skip_conn]
    choices = [false, true]
    when = { n_rnn = [2, 3] }           # drawn only then, else the preset's
    [ranges.big_frame_size]
    choices = [2, 4, 8]
    times = "frame_size"                # a multiple of the value drawn for another range above

The paper searched at random; it does not give its ranges.
"""

import argparse
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler

from samplernn_theano.config.argument_types import positive, positive_int, weight
from samplernn_theano.config.flags import read_settings
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import preset
from samplernn_theano.errors import HyperParameterError, ReproductionError
from samplernn_theano.utils.toml_files import read_toml

type Value = bool | int | float | str

RANGES = Path(__file__).parent / "ranges"
"""Folder of the default ranges, FAMILY.toml each."""

OPTIONS = {
    "learning_rate": positive,
    "ip_weight": weight,
    "monitor_iters": positive_int,
    "monitor_minutes": positive,
    "patience": positive_int,
}
"""Options of training that may be fixed or drawn too, and their parsers."""


SCALES = ("q_type", "q_levels", "normalisation", "mean", "std")
"""Hyper-parameters that change the scale of the NLL: trials that differ in one cannot be compared."""


@dataclass(frozen=True)
class Range:
    """The range of one hyper-parameter: `choices`, or from `low` to `high`."""

    name: str
    choices: Sequence[Value] = ()
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    times: str | None = None
    when: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of the drawn number: the hyper-parameter, or a quotient of two."""
        return f"{self.name}/{self.times}" if self.times else self.name


@dataclass(frozen=True)
class Space:
    """The search space of a family: a preset, fixed values and ranges."""

    family: str
    preset: str
    fixed: Mapping[str, str]
    ranges: Sequence[Range]


# --- the file -----------------------------------------------------------------------------------------------


def read(path: Path, family: str, preset_name: str) -> Space:
    """Read the search space in the file `path`.

    Raises
    ------
    ReproductionError
        If the file is missing, malformed or for another family, or a range is invalid.
    """
    found = read_toml(path, {"family", "fixed", "ranges"})
    if found.get("family") != family:
        raise ReproductionError(
            f"{path} has ranges for the family {found.get('family')}, not {family}; "
            "choose another with --ranges."
        )
    tables = found.get("ranges")
    if not isinstance(tables, dict) or not tables:
        raise ReproductionError(f"{path} has no range; add a table such as [ranges.dim].")
    ranges: list[Range] = []
    for name, table in tables.items():
        try:
            ranges.append(_range(name, table, family, ranges))
        except (ReproductionError, HyperParameterError) as error:
            raise ReproductionError(f"{path}, [ranges.{name}]: {error}") from error
    try:
        fixed = _fixed(found.get("fixed", []), family, tables.keys())
    except (ReproductionError, HyperParameterError) as error:
        raise ReproductionError(f"{path}, fixed: {error}") from error
    return Space(family, preset_name, fixed, ranges)


def _range(name: str, table: Any, family: str, above: Sequence[Range]) -> Range:
    if name in SCALES:
        raise ReproductionError(
            f"Scores of models that differ in {name} cannot be compared; give one value under fixed, and "
            "run a search for each value."
        )
    if not isinstance(table, dict):
        raise ReproductionError("It must be a table with choices, or with low and high.")
    known = {own.name for own in fields(Range)} - {"name"}
    if unknown := sorted(table.keys() - known):
        raise ReproductionError(f"The key {unknown[0]} is unknown; known are {', '.join(sorted(known))}.")
    one = Range(name, **table)
    _check_kind(one)
    _check_names(one, above)
    for value in (*one.choices, *(end for end in (one.low, one.high) if end is not None)):
        check_value(family, name, to_text(value))
    return one


def _check_kind(one: Range) -> None:
    """Raise ReproductionError unless a range has valid choices or limits."""
    if not isinstance(one.choices, list | tuple) or not all(
        isinstance(c, Value.__value__) for c in one.choices
    ):
        raise ReproductionError("choices must be a list of numbers, strings or booleans.")
    if one.choices:
        if one.low is not None or one.high is not None or one.log:
            raise ReproductionError("It has choices, so leave out low, high and log.")
        if one.times and not all(type(c) is int for c in one.choices):
            raise ReproductionError("With times, choices must be integers.")
        return
    ends = (one.low, one.high)
    if one.low is None or one.high is None or not all(type(end) in (int, float) for end in ends):
        raise ReproductionError("It needs choices, or the numbers low and high.")
    if not one.low < one.high < float("inf"):
        raise ReproductionError(f"low is {one.low} and high {one.high}; low must be below high.")
    if one.log and one.low <= 0:
        raise ReproductionError(f"low is {one.low}; with log it must be above 0.")
    if one.times and not all(type(end) is int for end in ends):
        raise ReproductionError("With times, low and high must be integers.")


def _check_names(one: Range, above: Sequence[Range]) -> None:
    """Raise ReproductionError if a range refers to one that is not drawn before it."""
    if not isinstance(one.when, dict) or not all(isinstance(values, list) for values in one.when.values()):
        raise ReproductionError("when must name a list of values, such as { n_rnn = [2, 3] }.")
    always = {other.name for other in above if not other.when}
    drawn = {other.name for other in above}
    for key, name in [("times", one.times)] * bool(one.times) + [("when", name) for name in one.when]:
        if name not in (always if key == "times" else drawn):
            raise ReproductionError(f"{key} names {name}, which is not drawn above it in every trial.")


def _fixed(entries: Any, family: str, drawn: Any) -> dict[str, str]:
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ReproductionError('It must be a list such as ["--batch_size 8"].')
    fixed: dict[str, str] = {}
    for entry in entries:
        parts = shlex.split(entry)
        if len(parts) != 2 or not parts[0].startswith("--"):
            raise ReproductionError(f'{entry!r} is not of the form "--batch_size 8".')
        name = parts[0][2:].replace("-", "_")
        check_value(family, name, parts[1])
        if name in drawn:
            raise ReproductionError(f"--{name} also has a range; leave out one of the two.")
        fixed[name] = parts[1]
    return fixed


def check_value(family: str, name: str, value: str) -> None:
    """Raise ReproductionError or HyperParameterError if `family` has no such flag or the value is invalid."""
    own = [f.name for f in fields(FAMILIES[family])]
    options = [o for o in OPTIONS if o != "ip_weight" or FAMILIES[family].independent_preds]
    if name not in own + options:
        raise ReproductionError(f"{family} has no {name}; known are {', '.join(sorted(own + options))}.")
    if name in own:
        read_settings(FAMILIES[family], [f"{name}={value}"])
        return
    try:
        OPTIONS[name](value)
    except argparse.ArgumentTypeError as error:
        raise ReproductionError(f"{error}.") from error


# --- drawing ------------------------------------------------------------------------------------------------


class SeededByTrial(BaseSampler):
    """Optuna's random sampler, seeded for each value by seed, number of the trial and name.

    So the values of a trial do not depend on the number and the speed of workers.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """No values are drawn jointly."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """No values are drawn jointly."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        """Draw one value."""
        digest = hashlib.sha256(f"{self.seed} {trial.number} {param_name}".encode()).digest()
        sampler = RandomSampler(seed=int.from_bytes(digest[:4]))
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def draw(trial: optuna.Trial, ranges: Sequence[Range]) -> dict[str, Value]:
    """Draw the values of a trial; existing ones are kept."""
    values: dict[str, Value] = {}
    for one in ranges:
        if all(values.get(name) in allowed for name, allowed in one.when.items()):
            values[one.name] = _times(one, _suggest(trial, one), values)
    return values


def _suggest(trial: optuna.Trial, one: Range) -> Value:
    if one.choices:
        chosen = trial.suggest_categorical(one.label, one.choices)
        assert chosen is not None
        return chosen
    assert one.low is not None and one.high is not None
    if isinstance(one.low, int) and isinstance(one.high, int):
        return trial.suggest_int(one.label, one.low, one.high, log=one.log)
    return trial.suggest_float(one.label, one.low, one.high, log=one.log)


def _times(one: Range, drawn: Value, values: Mapping[str, Value]) -> Value:
    return int(drawn) * int(values[one.times]) if one.times else drawn


def values_of(ranges: Sequence[Range], drawn: Mapping[str, Any]) -> dict[str, Value]:
    """The values of a trial from the numbers drawn for it, as Optuna stores them."""
    values: dict[str, Value] = {}
    for one in ranges:
        if one.label in drawn:
            values[one.name] = _times(one, drawn[one.label], values)
    return values


def preview(space: Space, seed: int, trials: int) -> list[dict[str, Value]]:
    """The values of the first `trials` trials."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(sampler=SeededByTrial(seed))
    return [draw(study.ask(), space.ranges) for _ in range(trials)]


# --- a trial as hyper-parameters and as command-line arguments ----------------------------------------------


def hyperparameters(space: Space, values: Mapping[str, Value]) -> HyperParameters:
    """The hyper-parameters of a trial.

    Raises
    ------
    HyperParameterError
        If the values contradict each other, or there is no such preset.
    """
    of_model = [f"{name}={text}" for name, text in _texts(space, values).items() if name not in OPTIONS]
    return preset(space.family, space.preset, read_settings(FAMILIES[space.family], of_model))


def arguments(space: Space, values: Mapping[str, Value]) -> list[str]:
    """Arguments of `samplernn train FAMILY` for the fixed and the drawn values."""
    return [part for name, text in _texts(space, values).items() for part in (flag(name), text)]


def _texts(space: Space, values: Mapping[str, Value]) -> dict[str, str]:
    return {**space.fixed, **{name: to_text(value) for name, value in values.items()}}


def flag(name: str) -> str:
    """The flag of a hyper-parameter or of an option of training."""
    return f"--{name.replace('_', '-') if name in OPTIONS else name}"


def to_text(value: Value) -> str:
    """Format a value for the command line, without loss of precision."""
    return format(Decimal(str(value)), "f") if isinstance(value, float) else str(value)
