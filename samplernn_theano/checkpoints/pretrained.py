"""The small models that come with the package, trained by `reproduce/study.sh`: `pretrained/NAME`.

Each is a checkpoint without Adam's moments, NAME.npz, with a card, NAME.json, both written by
`reproduce/pretrained.py`. A folder `pretrained` of the user's comes first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samplernn_theano.errors import CheckpointError
from samplernn_theano.utils.text import format_table, parse_json

PREFIX = "pretrained"
FOLDER = Path(__file__).parents[1] / PREFIX


def names() -> list[str]:
    """Names of the models."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def checkpoint(path: str | Path) -> Path:
    """The checkpoint that `path` means: `pretrained/NAME` is a model of the package, if no such path exists.

    Raises CheckpointError if there is no model of the name.
    """
    path = Path(path)
    if len(path.parts) != 2 or path.parts[0] != PREFIX or path.exists():
        return path
    if path.name not in names():
        raise _unknown(str(path))
    return FOLDER / f"{path.name}.npz"


def _unknown(name: str) -> CheckpointError:
    return CheckpointError(
        f"There is no model {name}; there are {', '.join(f'{PREFIX}/{n}' for n in names())}."
    )


def is_included(path: Path) -> bool:
    """True if a checkpoint is one of those that come with the package."""
    return path.resolve().parent == FOLDER.resolve()


def card(name: str) -> Mapping[str, Any]:
    """The card of a model: what it was trained on, how, and what it reached.

    Raises CheckpointError if there is no model of the name.
    """
    if name not in names():
        raise _unknown(f"{PREFIX}/{name}")
    return parse_json((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def table() -> str:
    """A line for each model."""
    rows = [["model", "family", "data", "updates", "test, bits", "size"]]
    for name in names():
        own, size = card(name), (FOLDER / f"{name}.npz").stat().st_size
        row = [f"{PREFIX}/{name}", own["family"], own["set"], f"{own['updates']:,}", f"{own['test']:.3f}"]
        rows.append([*row, f"{size / 1e6:.1f} MB"])
    return "\n".join(format_table(rows, right=(3, 4, 5)))


def describe(name: str) -> str:
    """The card of a model as text."""
    rows = [[key.replace("_", " "), str(value)] for key, value in card(name).items()]
    return "\n".join([f"{PREFIX}/{name}", *format_table(rows)])
