"""Exported models (.safetensors): the parameters of a checkpoint and what is known of them, to be shared.

The tensors are float32, under the original's names. The metadata `about` is the header of a checkpoint (see
`npz`) with `sha256`, a checksum of it and of the tensors: the format has none.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from samplernn_theano.errors import CheckpointError, OutputError
from samplernn_theano.utils.file_kinds import check_kind, is_safetensors, is_zip
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.text import parse_json

MAX_ARRAYS = 10_000  # in a file; a model has some hundreds


def is_export(path: Path) -> bool:
    """True if a file is an exported model, or of another program in this format, by content or name."""
    return is_safetensors(path) or (path.suffix == ".safetensors" and not is_zip(path))


def write(path: Path, about: Mapping[str, Any], tensors: Mapping[str, NDArray]) -> None:
    """Write float32 tensors in C order and their description to `path` atomically, and read them again."""
    from safetensors import SafetensorError  # slow to import
    from safetensors.numpy import save

    metadata = {"about": json.dumps({**about, "sha256": _checksum(about, tensors)})}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(dict(tensors), metadata))
        try:
            read(temporary)
        except (CheckpointError, SafetensorError, ValueError) as error:
            raise OutputError(f"{path} was not written: the disk returned wrong data.") from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """The description and the tensors of an exported model, after verifying the checksum.

    Raises CheckpointError if the file is of another program, and what safetensors raises, or ValueError, if
    it is damaged.
    """
    from safetensors import safe_open  # slow to import

    if not is_safetensors(path):
        check_kind(path)
    with safe_open(path, framework="numpy") as file:
        metadata, names = file.metadata() or {}, list(file.keys())
        if "about" not in metadata:
            raise CheckpointError(
                f"{path} is a file of another program (safetensors): it does not describe a model of this "
                "package; give a checkpoint of this package or of the original."
            )
        if len(names) > MAX_ARRAYS:
            raise ValueError(f"it has {len(names):,} arrays")
        if other := [name for name in names if file.get_slice(name).get_dtype() != "F32"]:
            raise ValueError(f"{other[0]} is not of float32")
        tensors = {name: file.get_tensor(name) for name in names}
    about = parse_json(metadata["about"])
    if about.pop("sha256", None) != _checksum(about, tensors):
        raise ValueError("its checksum is wrong")
    return about, tensors


def _checksum(about: Mapping[str, Any], tensors: Mapping[str, NDArray]) -> str:
    digest = hashlib.sha256(json.dumps(about).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.shape}".encode() + tensor.tobytes())
    return digest.hexdigest()
