"""Checkpoint files (.npz, without pickle): everything that resuming a run needs.

| key | content |
| --- | --- |
| `about` | JSON: format, family, hyperparameters, progress, settings, names of the arrays |
| `parameters/NAME` | parameters under the original's names |
| `adam/adam.t` | number of updates |
| `adam/adam.m.NAME` | Adam's first moment of a parameter; `adam/adam.v.NAME`: the second |
| `states/NAME` | recurrent states carried to the next minibatch, of the whole batch |
"""

import json
import math
import reprlib
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints import exports
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters, as_stored, to_store
from samplernn_theano.config.schedule import Progress
from samplernn_theano.config.settings import check_stored
from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.utils.file_kinds import check_kind
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.text import parse_json

FORMAT = "samplernn-theano checkpoint 1"

RENAMED = {"look_due": "eval_due", "looks_without_gain": "evals_without_improvement"}
"""Former keys of `progress`, in checkpoints that users may have, and the present ones."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a run at one iteration; it needs no random state, as training draws no random numbers."""

    hp: HyperParameters
    parameters: Mapping[str, NDArray]  # under the original's names
    adam: Mapping[str, NDArray] = field(default_factory=dict)
    states: Mapping[str, NDArray] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)  # fields of `config.schedule.Progress`
    settings: Mapping[str, Any] = field(default_factory=dict)  # learning rate, seed, backend, versions, ...


_GROUPS = ("parameters", "adam", "states")


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` (.npz) atomically, after verifying the checksums of what was written."""
    arrays = {f"{group}/{name}": a for group in _GROUPS for name, a in getattr(checkpoint, group).items()}
    with atomic_write(path) as temporary:
        np.savez(temporary, about=np.array(json.dumps(header(checkpoint, list(arrays)))), **arrays)
        with zipfile.ZipFile(temporary) as archive:
            if damaged := archive.testzip():
                raise OutputError(f"{path} was not written: the disk returned wrong data for {damaged}.")


def header(checkpoint: Checkpoint, arrays: Sequence[str]) -> dict[str, Any]:
    """The entry `about` of a file with these arrays."""
    return {
        "format": FORMAT,
        "family": checkpoint.hp.family,
        "hyperparameters": to_store(checkpoint.hp),
        "progress": dict(checkpoint.progress),
        "settings": dict(checkpoint.settings),
        "arrays": list(arrays),
    }


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint, or an exported model, and verify the checksums of its arrays."""
    path = Path(path)
    with readable(path):
        if exports.is_export(path):
            about, tensors = exports.read(path)
            order = [name.removeprefix("parameters/") for name in about["arrays"]]
            arrays = {f"parameters/{name}": tensors[name] for name in sorted(tensors, key=order.index)}
            return assemble(path, about, arrays)
        check_kind(path)
        check_sizes(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # NumPy does not check it if an array's header is too short
        if damaged:
            raise ValueError(f"the checksum of {damaged} is wrong")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return assemble(path, parse_json(str(arrays.pop("about"))), arrays)


def assemble(path: Path, about: Any, arrays: Mapping[str, NDArray]) -> Checkpoint:
    """The checkpoint of the entry `about` and the arrays of a file; an error that `readable` knows."""
    about = check_about(about)
    if about["format"] != FORMAT:
        raise CheckpointError(f"{path} has the format {about['format']!r}; this version reads {FORMAT!r}.")
    if str(about["family"]) not in FAMILIES:
        raise CheckpointError(f"{path} holds a model of the unknown family {about['family']!r}.")
    if about["arrays"] != list(arrays):
        raise ValueError("arrays are missing")
    if not all(array.dtype.kind == "f" for array in arrays.values()):
        raise ValueError("an array is not of floats")
    hp = FAMILIES[about["family"]](**as_stored(about["family"], about["hyperparameters"]))
    groups = {
        group: {name[len(group) + 1 :]: a for name, a in arrays.items() if name.startswith(group + "/")}
        for group in _GROUPS
    }
    return Checkpoint(hp, progress=about["progress"], settings=about["settings"], **groups)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise a CheckpointError of one line for whatever a damaged file raises in the block."""
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint {path}.") from None
    except PermissionError:
        raise CheckpointError(f"No permission to read the checkpoint {path}.") from None
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise anything in zipfile, NumPy's header parser or json
        why = str(error).rstrip(".")
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it is damaged or not one of this package ({why})."
        ) from error


def check_sizes(path: Path) -> None:
    """Raise an error before a file is unpacked to much more than its size, or to other than its members say.

    Checkpoints are not compressed; with zeros in them, those that a user compressed unpack to several times.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as start:
        members = archive.infolist()
        names = Counter(member.filename.removesuffix(".npy") for member in members)
        if start.read(4) != b"PK\3\4":  # NumPy would take it for a pickle
            raise ValueError("something stands before its arrays")
        if len(members) > exports.MAX_ARRAYS:
            raise ValueError(f"it has {len(members):,} arrays")
        if twice := [name for name, count in names.items() if count > 1]:  # NumPy would read the last
            raise ValueError(f"two of its arrays have the name {twice[0]}")
        total, size = sum(member.file_size for member in members), path.stat().st_size
        if total > 20 * size + 2**24:
            raise CheckpointError(
                f"{path} has {size:,} bytes and would unpack to {total:,}: it is no checkpoint."
            )
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                one = version == (1, 0)
                read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                if math.prod(shape) * dtype.itemsize + file.tell() != member.file_size:
                    raise ValueError(f"the size of {member.filename} is not that of its array")


def check_about(about: Any) -> dict[str, Any]:
    """The header of a checkpoint; ValueError or HyperParameterError if an entry is of another type."""
    if not isinstance(about, dict):
        raise ValueError("its header holds no names and values")
    for name in ("hyperparameters", "progress", "settings"):
        if not isinstance(about.get(name), dict):
            raise ValueError(f"{name} is {reprlib.repr(about.get(name))}")
    progress = {RENAMED.get(name, name): value for name, value in about["progress"].items()}
    Progress(**{own.name: progress[own.name] for own in fields(Progress) if own.name in progress})
    return about | {"progress": progress, "settings": check_stored(about["settings"])}
