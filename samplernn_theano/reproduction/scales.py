"""The scales: how much of the paper's effort goes into every cell, as `reproduce/scales/*.toml` say.

A scale changes a cell in this order: its preset, its [families.FAMILY], the cell's own flags, and
[cells."PATTERN"], which has the last word.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samplernn_theano.errors import ReproductionError
from samplernn_theano.reproduction.cells import Cell
from samplernn_theano.utils.toml_files import read_toml


@dataclass(frozen=True)
class Resources:
    """What a step may use: threads, GiB of memory, GPUs, and minutes before it is cut off."""

    threads: int
    memory_gib: int
    gpus: int
    minutes: int


@dataclass(frozen=True)
class Scale:
    """How every cell is trained and measured.

    Attributes
    ----------
    train : mapping
        Options of `samplernn train`, such as max_minutes.
    generate, retention, listening : mapping
        n_seqs and seconds of the generated sound; clips; clips, pairs and seconds, and noise_too where no
        sound is left out.
    demo_data : bool
        Whether small synthetic sets stand in for all data.
    environment : mapping of str to str
        Variables for every step.
    retries : int
        How often a step that failed, or was cut off after its minutes, is begun again.
    """

    name: str
    preset: str
    train: Mapping[str, Any]
    generate: Mapping[str, Any]
    retention: Mapping[str, Any]
    listening: Mapping[str, Any]
    resources: Resources
    families: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    cells: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    demo_data: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    retries: int = 0


def names(files: Path) -> list[str]:
    """The scales there are, in the folder `files`."""
    return sorted(path.stem for path in (files / "scales").glob("*.toml"))


def read(files: Path, name: str) -> Scale:
    """The scale `name`.

    Raises
    ------
    ReproductionError
        If there is none, or its file is malformed.
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


def flags(scale: Scale, cell: Cell) -> dict[str, Any]:
    """The hyper-parameters and the learning rate of a cell at a scale, beyond those of the preset."""
    last = [values for pattern, values in scale.cells.items() if fnmatch.fnmatch(cell.name, pattern)]
    merged = {**scale.families.get(cell.family, {}), **cell.flags}
    for values in last:
        merged |= values
    return merged
