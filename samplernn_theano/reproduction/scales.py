"""The scales of the experiments, read from `files/scales`: smoke, laptop, paper.

Hyper-parameters are taken from, each overriding the one before: the scale's preset, its [families.FAMILY],
the experiment's flags, the scale's [experiments."PATTERN"].
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction.experiments import Experiment
from samplernn_theano.utils.toml_files import read_toml


@dataclass(frozen=True)
class Resources:
    """Limits of a step: threads, memory in GiB, GPUs, minutes."""

    threads: int
    memory_gib: int
    gpus: int
    minutes: int


@dataclass(frozen=True)
class Scale:
    """Settings of training and evaluation shared by all experiments.

    Attributes
    ----------
    train : mapping
        Options of `samplernn train`, such as max_minutes.
    generate, retention, listening : mapping
        n_seqs and seconds; clips; clips, pairs, seconds, and noise_too to keep samples that are noise.
    demo_data : bool
        True if small synthetic sets replace all data.
    environment : mapping of str to str
        Environment variables of every step.
    retries : int
        Maximum number of restarts of an interrupted training.
    """

    name: str
    preset: str
    train: Mapping[str, Any]
    generate: Mapping[str, Any]
    retention: Mapping[str, Any]
    listening: Mapping[str, Any]
    resources: Resources
    families: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    demo_data: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0


def names(files: Path) -> list[str]:
    """Names of the scales in the folder `files`."""
    return sorted(path.stem for path in (files / "scales").glob("*.toml"))


def read(files: Path, name: str) -> Scale:
    """Read the scale `name`.

    Raises
    ------
    ReproductionError
        If it does not exist, or its file is malformed.
    """
    if name not in names(files):
        raise ReproductionError(f"There is no scale {name}; there are {', '.join(names(files))}.")
    path = files / "scales" / f"{name}.toml"
    found = read_toml(path, set(Scale.__dataclass_fields__) - {"name"})
    try:
        found["resources"] = Resources(**found["resources"])
        return Scale(name=name, **found)
    except (KeyError, TypeError) as error:
        raise ReproductionError(f"{path} is incomplete: {error}.") from error


def flags(scale: Scale, experiment: Experiment) -> dict[str, Any]:
    """Hyper-parameters and learning rate of an experiment at a scale that differ from the preset."""
    merged = {**scale.families.get(experiment.family, {}), **experiment.flags}
    for pattern, values in scale.experiments.items():
        if fnmatch.fnmatch(experiment.name, pattern):
            merged |= values
    return merged
