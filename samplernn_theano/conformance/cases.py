"""Reading the cases that the original produced: pairs NAME.json and NAME.npz."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import DataError


@dataclass(frozen=True)
class Case:
    """One case as read from its two files."""

    name: str
    family: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray]

    @property
    def dtype(self) -> str:
        """The dtype that the original computed in: float32 or float64."""
        return self.settings.get("floatX", "float32")

    def group(self, prefix: str) -> dict[str, NDArray]:
        """The arrays named `prefix`NAME, by NAME."""
        return {key[len(prefix) :]: self.arrays[key] for key in sorted(self.arrays) if key.startswith(prefix)}


def find_cases(folder: str | Path) -> list[Path]:
    """The json file of every case in `folder`, sorted.

    Raises
    ------
    DataError
        If the folder is missing or holds no case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; name one with NAME.json and NAME.npz of each case.")
    found = [path for path in sorted(folder.glob("*.json")) if path.with_suffix(".npz").exists()]
    if not found:
        raise DataError(f"The folder {folder} holds no case: a case is a pair NAME.json and NAME.npz.")
    return found


def read_case(path: Path) -> Case:
    """Read NAME.json and NAME.npz.

    Raises
    ------
    DataError
        If they cannot be read or name no command line.
    """
    try:
        settings = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        argv = settings["argv"]
        family = settings.get("model") or Path(argv[0]).stem
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything in zipfile, NumPy's header parser or json
        raise DataError(f"The case {path} cannot be read: {type(error).__name__}: {error}.") from error
    return Case(path.stem, family, settings, arrays)


def find_corpus(folder: str | Path) -> Path | None:
    """The clips that the cases were fed with: a folder `corpus` or `feeders/corpus` in or beside `folder`."""
    folder = Path(folder).resolve()
    places = [base / name for base in (folder, folder.parent) for name in ("corpus", "feeders/corpus")]
    return next((place for place in places if place.is_dir()), None)
