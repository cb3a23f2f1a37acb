"""Whether the data of a cell are the paper's, by what the record of their making says."""

from pathlib import Path

from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.results import Results, number, part, text

CLOSE = 0.05
"""Relative difference of standard deviations below which sound counts as the same recordings: another way of
cutting changes them a little, other recordings by far more."""


def differs(results: Results, name: str) -> bool:
    """Whether the set `name` is known not to be the paper's, or cannot be told to be."""
    return bool(_about(results, name)) or not _is_authors(results, name)


def _about(results: Results, name: str) -> str:
    """What the set is said to be: when the workflow was last asked for, else when the set was made."""
    return results.about.get(name) or text(part(results.data.get(name, {}), "result").get("about"))


def _is_authors(results: Results, name: str) -> bool:
    """Whether clips and statistics are those of the authors' set, as far as these are known."""
    result = part(results.data.get(name, {}), "result")
    if name not in AUTHORS:
        return False  # they never said which recordings theirs are
    _, std, sizes = AUTHORS[name]
    ours = number(result.get("train_std"))
    clips = [number(part(result, "splits", split).get("clips")) for split in SPLITS]
    same = all(n is not None and abs(n - size) <= 0.05 * size for n, size in zip(clips, sizes, strict=True))
    return same and ours is not None and abs(ours - std) <= CLOSE * std


def describe(results: Results, name: str, files: Path) -> str:
    """What stands in for the paper's set, in words; nothing if it is the paper's or was not made."""
    result = part(results.data.get(name, {}), "result")
    if not result or not differs(results, name):
        return ""
    about = _about(results, name)
    if not about and _is_demo(results, name, files):
        about = "synthetic demo set"
    seconds = sum(number(part(result, "splits", split).get("seconds")) or 0 for split in SPLITS)
    if not about:
        known = name in AUTHORS
        about = "size and level are not the authors'" if known else "the authors' recordings are not public"
    return f"{about}; {hours(seconds)}"


def _is_demo(results: Results, name: str, files: Path) -> bool:
    scale = text(results.data.get(name, {}).get("scale"))
    return name not in results.given and scale in scales.names(files) and scales.read(files, scale).demo_data
