"""The scales of the experiments, read from `files/scales`: smoke, laptop, study, paper.

Hyper-parameters are taken from, each overriding the one before: the scale's preset, its [families.FAMILY],
the experiment's flags, the scale's [experiments."PATTERN"]. All but the preset may also hold other options of
`samplernn train`, such as max_iters, which override those of the scale's [train].
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.schedule import Schedule, original_schedule, with_limits
from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction.experiments import FILES, Experiment, read_experiments
from samplernn_theano.utils.toml_files import read_toml


@dataclass(frozen=True)
class Resources:
    """Limits of a step."""

    threads: int
    memory_gib: int
    gpus: int
    minutes: int


@dataclass(frozen=True)
class Scale:
    """Settings of training and evaluation shared by all experiments."""

    name: str
    preset: str
    train: Mapping[str, Any]  # options of `samplernn train`, such as max_minutes
    generate: Mapping[str, Any]  # n_seqs and seconds
    retention: Mapping[str, Any]  # clips
    listening: Mapping[str, Any]  # clips, pairs, seconds, and noise_too to keep samples that are noise
    resources: Resources
    families: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    demo_data: bool = False  # True if small synthetic sets replace all data
    environment: Mapping[str, str] = field(default_factory=dict)  # variables of every step
    retries: int = 0  # maximum number of restarts of an interrupted training
    seconds_per_update: Mapping[str, float] = field(default_factory=dict)  # on a core of its own, by pattern


def names(files: Path = FILES) -> list[str]:
    """Names of the scales in the folder `files`."""
    return sorted(path.stem for path in (files / "scales").glob("*.toml"))


def read(name: str, files: Path = FILES) -> Scale:
    """Read the scale `name`."""
    if name not in names(files):
        raise ReproductionError(f"There is no scale {name}; there are {', '.join(names(files))}.")
    path = files / "scales" / f"{name}.toml"
    found = read_toml(path, set(Scale.__dataclass_fields__) - {"name"})
    try:
        found["resources"] = Resources(**found["resources"])
        return Scale(name=name, **found)
    except (KeyError, TypeError) as error:
        raise ReproductionError(f"{path} is incomplete: {error}.") from error


def schedules(name: str) -> dict[str, Schedule]:
    """The schedules of the trainings of all experiments at the scale `name`."""
    scale = read(name)
    return {name: _schedule(scale, experiment) for name, experiment in read_experiments().items()}


def _schedule(scale: Scale, experiment: Experiment) -> Schedule:
    options = {**scale.train, **flags(scale, experiment)}
    given = {own.name: options[own.name] for own in fields(Schedule) if own.name in options}
    return replace(original_schedule(FAMILIES[experiment.family]), **with_limits(given))


def flags(scale: Scale, experiment: Experiment) -> dict[str, Any]:
    """Options of `samplernn train` of an experiment that are not the preset's or the scale's for all."""
    merged = {**scale.families.get(experiment.family, {}), **experiment.flags}
    for pattern, values in scale.experiments.items():
        if fnmatch.fnmatch(experiment.name, pattern):
            merged |= values
    return merged


def seconds_per_update(name: str, experiment: str) -> float | None:
    """Seconds of an update of an experiment at the scale `name` on a core of its own; None if unknown."""
    rates = read(name).seconds_per_update if name in names() else {}
    return next((rate for pattern, rate in rates.items() if fnmatch.fnmatch(experiment, pattern)), None)
