"""Comparison of data sets with the paper's."""

from samplernn_theano.data.check import AUTHORS
from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.manifest import hours
from samplernn_theano.reproduction.records import Results, number, part, text

CLOSE = 0.05
"""Relative difference of standard deviations up to which recordings count as the same: other cuts change them
a little, other recordings far more."""


def is_substitute(results: Results, name: str) -> bool:
    """Return True unless the set `name` has the size and statistics of the paper's."""
    result = part(results.data.get(name, {}), "result")
    if _about(results, name) or name not in AUTHORS:
        return True  # the authors' recordings of other sets are unknown
    _, std, sizes = AUTHORS[name]
    ours = number(result.get("train_std"))
    clips = [number(part(result, "splits", split).get("clips")) for split in SPLITS]
    same = all(n is not None and abs(n - size) <= 0.05 * size for n, size in zip(clips, sizes, strict=True))
    return not same or ours is None or abs(ours - std) > CLOSE * std


def _about(results: Results, name: str) -> str:
    """The description of a set given with the last command, else when the set was made."""
    return results.about.get(name) or text(part(results.data.get(name, {}), "result").get("about"))


def describe_substitute(results: Results, name: str) -> str:
    """A description of the data that replace the paper's; empty if none do."""
    record = results.data.get(name, {})
    if not part(record, "result") or not is_substitute(results, name):
        return ""
    about = _about(results, name)
    if not about and record.get("scale") == "smoke" and name not in results.given:
        about = "synthetic demo set"
    if not about:
        known = name in AUTHORS
        about = (
            "size and statistics are not the authors'" if known else "the authors' recordings are not public"
        )
    seconds = sum(number(part(record, "result", "splits", split).get("seconds")) or 0 for split in SPLITS)
    return f"{about}; {hours(seconds)}"
