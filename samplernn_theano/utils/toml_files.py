"""TOML files with known keys."""

import tomllib
from pathlib import Path
from typing import Any

from samplernn_theano.errors import ReproductionError


def read_toml(path: Path, keys: set[str]) -> dict[str, Any]:
    """Read a TOML file with no other keys than `keys`; otherwise raise ReproductionError."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReproductionError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # neither UTF-8 nor TOML
        raise ReproductionError(f"{path} is not TOML: {error}.") from error
    if unknown := sorted(found.keys() - keys):
        raise ReproductionError(
            f"{path} has the unknown key {unknown[0]}; known are {', '.join(sorted(keys))}."
        )
    return found
