"""Read conformance cases, produced by the original: pairs NAME.json and NAME.npz."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.checkpoints.npz import check_sizes
from samplernn_theano.errors import DataError
from samplernn_theano.original.tags import family_of_script
from samplernn_theano.utils.text import parse_json
from samplernn_theano.verification.tolerances import Check


@dataclass(frozen=True)
class Case:
    """A conformance case."""

    name: str
    family: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray]

    @property
    def dtype(self) -> str:
        """The dtype of the original's computation: float32 or float64."""
        return self.settings.get("floatX", "float32")

    @property
    def has_fingerprints(self) -> bool:
        """True if the case holds fingerprints, so vectors, of all parameters in place of the parameters."""
        initial = self.group("init/").values()
        return bool(initial) and all(array.ndim < 2 for array in initial)

    @property
    def has_curve(self) -> bool:
        """True if the case is a learning curve on the demo set."""
        return {"costs", "valid"} <= self.arrays.keys()

    def group(self, prefix: str) -> dict[str, NDArray]:
        """Arrays named `prefix`NAME, by NAME."""
        return {key[len(prefix) :]: self.arrays[key] for key in sorted(self.arrays) if key.startswith(prefix)}

    def difference(
        self, quantity: str, kind: str, absolute: float, relative: float = np.inf, note: str = ""
    ) -> Check:
        """A check with a known difference; NaN counts as infinite."""
        if not np.isfinite(absolute):
            absolute = relative = np.inf
        return Check(self.name, quantity, kind, absolute, relative, note, self.dtype)

    def compare(self, quantity: str, kind: str, ours: NDArray, theirs: NDArray, note: str = "") -> Check:
        """Compare two arrays."""
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if ours.shape != theirs.shape:
            note = f"shape {ours.shape}, the original's is {theirs.shape}"
            return self.difference(quantity, kind, np.inf, note=note)
        delta = ours - theirs
        absolute, scale = float(np.max(np.abs(delta), initial=0.0)), float(np.linalg.norm(theirs))
        relative = float(np.linalg.norm(delta)) / scale if scale else absolute
        return self.difference(quantity, kind, absolute, relative, note)


def find_cases(folder: str | Path) -> list[Path]:
    """Find the json file of every case in `folder`, sorted."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; name one with NAME.json and NAME.npz of each case.")
    found = [path for path in sorted(folder.glob("*.json")) if path.with_suffix(".npz").exists()]
    if not found:
        raise DataError(
            f"The folder {folder} has no case, which is a pair NAME.json and NAME.npz; name another one."
        )
    return found


def read_case(path: Path) -> Case:
    """Read NAME.json and NAME.npz."""
    try:
        settings = parse_json(path.read_text())
        check_sizes(path.with_suffix(".npz"))
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        argv = settings["argv"]
        family = settings.get("model") or family_of_script(argv[0]) or Path(argv[0]).stem
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything in zipfile, NumPy's header parser or json
        raise DataError(f"The case {path} cannot be read: {type(error).__name__}: {error}.") from error
    return Case(path.stem, family, settings, arrays)


def find_corpus(folder: str | Path) -> Path | None:
    """Find the clips of the cases: a folder `corpus` or `feeders/corpus` in `folder` or its parent."""
    folder = Path(folder).resolve()
    candidates = [base / name for base in (folder, folder.parent) for name in ("corpus", "feeders/corpus")]
    return next((path for path in candidates if path.is_dir()), None)


def choose_cases(
    folder: str | Path, families: Sequence[str] | None = None, names: Sequence[str] | None = None
) -> list[Case]:
    """Read the cases in `folder`, or only those of `families` and `names`."""
    cases = [read_case(path) for path in find_cases(folder)]
    cases = [c for c in cases if (not families or c.family in families) and (not names or c.name in names)]
    if not cases:
        raise DataError(f"No case in {folder} fits --family and --case; give other ones.")
    return cases
