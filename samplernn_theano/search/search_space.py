"""The search space: ranges of hyper-parameters, read from a file, and the values drawn for each trial.

In a file of ranges, such as ranges/three_tier.toml, each hyper-parameter has a table: `choices`, drawn with
equal probability (one choice: the same in every trial); `times`, choices that are these multiples of the
preset's value, rounded; or `low` and `high`, both included if integers, and with `log = true` uniform in the
logarithm. With `when = { n_rnn = [2, 3] }` it is drawn only for these values of a range above. All others are
the preset's. The paper searched at random; it does not give its ranges.

The default ranges give sizes as multiples, with widths up to the preset's, so the preset bounds what a trial
costs: at most about five times what the preset itself does, on average no more.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from samplernn_theano.config.argument_types import positive, positive_int, weight
from samplernn_theano.config.flags import format_value, read_settings
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import preset
from samplernn_theano.errors import HyperParameterError, ReproductionError
from samplernn_theano.utils.toml_files import read_toml

RANGES = Path(__file__).parent / "ranges"  # folder of the default ranges, FAMILY.toml each
OPTIONS = {
    "learning_rate": positive,
    "ip_weight": weight,
    "monitor_iters": positive_int,
    "monitor_minutes": positive,
    "patience": positive_int,
}
"""Options of training that may have a range too, and their parsers."""

SCALES = ("q_type", "q_levels", "normalisation", "mean", "std")
"""Hyper-parameters that change the scale of the NLL: trials that differ in one cannot be compared."""


@dataclass(frozen=True)
class Space:
    """The search space of a family: a preset, and the tables of the file of ranges by hyper-parameter."""

    family: str
    preset: str
    ranges: Mapping[str, Mapping[str, Any]]


def read(path: Path, family: str, preset_name: str) -> Space:
    """Read the search space in the file `path`."""
    found = read_toml(path, {"family", "ranges"})
    if (other := found.get("family")) != family:
        raise ReproductionError(f"{path} is for {other}, not {family}; choose another file with --ranges.")
    if not (ranges := found.get("ranges")) or not isinstance(ranges, dict):
        raise ReproductionError(f"{path} has no range; add a table such as [ranges.dim].")
    values = vars(preset(family, preset_name, {}))
    for position, (name, table) in enumerate(ranges.items()):
        try:
            match table:
                case {"times": [*times], **rest} if rest.keys() <= {"when"}:
                    ranges[name] = table = {"choices": _multiples(values.get(name), times), **rest}
            _check(family, name, table, above=list(ranges)[:position])
        except (ReproductionError, HyperParameterError, TypeError, ValueError) as error:
            raise ReproductionError(f"{path}, [ranges.{name}]: {error}") from error
    return Space(family, preset_name, ranges)


def _check(family: str, name: str, table: Any, above: Sequence[str]) -> None:
    distribution(table)
    for value in table.get("choices") or (table["low"], table["high"]):
        _parse(family, {name: value})
    if name in SCALES and len(table.get("choices", ())) != 1:
        raise ReproductionError(
            f"Scores of models that differ in {name} cannot be compared; run a search for each value."
        )
    for other, values in dict(table.get("when", {})).items():
        if other not in above or not isinstance(values, list):
            raise ReproductionError("when must list values of a range above, such as { n_rnn = [2, 3] }.")


def _multiples(value: Any, times: Sequence[Any]) -> list[int]:
    """Multiples of the preset's value, rounded, each once; at least 1 but for 0 times it."""
    if type(value) is not int or not all(isinstance(t, int | float) and t >= 0 for t in times):
        raise ReproductionError("times must list multiples, not below 0, of a whole number of the preset.")
    return list(dict.fromkeys(max(1, round(t * value)) if t else 0 for t in times))


def distribution(table: Any) -> BaseDistribution:
    """Optuna's distribution of a range."""
    match table:
        case {"choices": [*choices], **rest} if rest.keys() <= {"when"}:
            return CategoricalDistribution(choices)
        case {"low": int(low), "high": int(high), **rest} if rest.keys() <= {"log", "when"}:
            return IntDistribution(low, high, bool(rest.get("log")))
        case {"low": low, "high": high, **rest} if rest.keys() <= {"log", "when"}:
            return FloatDistribution(low, high, bool(rest.get("log")))
    raise ReproductionError("It needs choices, times, or the numbers low and high.")


def draw(space: Space, seed: int, trials: int) -> list[dict[str, Any]]:
    """Draw the values of the first `trials` trials with Optuna's random sampler."""
    study = optuna.create_study(sampler=RandomSampler(seed))
    distributions = {name: distribution(table) for name, table in space.ranges.items()}
    drawn = [study.ask(distributions).params for _ in range(trials)]
    for values in drawn:
        for name, table in space.ranges.items():
            if any(values.get(other) not in allowed for other, allowed in table.get("when", {}).items()):
                del values[name]
    return drawn


def hyperparameters(space: Space, values: Mapping[str, Any]) -> HyperParameters:
    """The hyper-parameters of a trial; raise HyperParameterError if they contradict each other."""
    return preset(space.family, space.preset, _parse(space.family, values))


def _parse(family: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check values as `samplernn train` would; return the hyper-parameters among them."""
    options = {n for n in OPTIONS if n != "ip_weight" or FAMILIES[family].independent_preds}
    for name in options & values.keys():
        try:
            OPTIONS[name](format_value(values[name]))
        except argparse.ArgumentTypeError as error:
            raise HyperParameterError(f"--{name}: {error}.") from error
    settings = [f"{n}={format_value(v)}" for n, v in values.items() if n not in options]
    return read_settings(FAMILIES[family], settings)


def arguments(values: Mapping[str, Any]) -> list[str]:
    """Arguments of `samplernn train` for the values of a trial."""
    return [part for name, value in values.items() for part in (f"--{name}", format_value(value))]
