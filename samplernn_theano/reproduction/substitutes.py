"""Comparison of data sets with the paper's."""

from pathlib import Path

from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction import scales
from samplernn_theano.reproduction.records import Results, number, part, text

CLOSE = 0.05
"""Relative difference of standard deviations up to which recordings count as the same: other cuts change them
a little, other recordings far more."""


def is_substitute(results: Results, name: str) -> bool:
    """Return True unless the set `name` has the size and statistics of the paper's."""
    return bool(_about(results, name)) or not _is_authors(results, name)


def _about(results: Results, name: str) -> str:
    """The description of a set given with the last command, else when the set was made."""
    return results.about.get(name) or text(part(results.data.get(name, {}), "result").get("about"))


def _is_authors(results: Results, name: str) -> bool:
    """Return True if number of clips and standard deviation agree with those of the authors' set."""
    result = part(results.data.get(name, {}), "result")
    if name not in AUTHORS:
        return False  # the authors' recordings are unknown
    _, std, sizes = AUTHORS[name]
    ours = number(result.get("train_std"))
    clips = [number(part(result, "splits", split).get("clips")) for split in SPLITS]
    same = all(n is not None and abs(n - size) <= 0.05 * size for n, size in zip(clips, sizes, strict=True))
    return same and ours is not None and abs(ours - std) <= CLOSE * std


def describe_substitute(results: Results, name: str, files: Path) -> str:
    """A description of the data that replace the paper's; empty if none do."""
    result = part(results.data.get(name, {}), "result")
    if not result or not is_substitute(results, name):
        return ""
    about = _about(results, name)
    if not about and _is_demo(results, name, files):
        about = "synthetic demo set"
    seconds = sum(number(part(result, "splits", split).get("seconds")) or 0 for split in SPLITS)
    if not about:
        known = name in AUTHORS
        about = (
            "size and statistics are not the authors'" if known else "the authors' recordings are not public"
        )
    return f"{about}; {hours(seconds)}"


def _is_demo(results: Results, name: str, files: Path) -> bool:
    scale = text(results.data.get(name, {}).get("scale"))
    return name not in results.given and scale in scales.names(files) and scales.read(files, scale).demo_data
