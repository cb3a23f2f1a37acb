"""A set of two readers, as the paper's Huckleberry Finn: LibriVox chapters read by a man and by a woman.

A book of LibriVox is an item of archive.org. The authors' readers are not known: see datasets/README.md.
"""

from collections.abc import Sequence
from pathlib import Path

from samplernn_theano.data import download, recordings
from samplernn_theano.data.manifest import listed
from samplernn_theano.data.recipes import Recipe, by_units
from samplernn_theano.data.recordings import Found
from samplernn_theano.errors import DataError

FORMATS = ("_64kb.mp3", ".mp3")
"""Formats in order of preference: 64 kbit/s is enough for 16 kHz."""

RECIPE = Recipe(
    set="huckleberry",
    name="Huckleberry",
    sizes=by_units(256),
    max_clips=42 * 256,
    by_speaker=True,
    balanced=True,
)
"""Named as the authors' files; 36, 3 and 3 units of 256 clips, as Blizzard."""


def download_items(items: Sequence[str], folder: Path, server: str) -> Found:
    """Download the chapters of these items to `folder`, and find them there; ignore its other files."""
    if len(set(items)) < 2:
        raise DataError("--items names one item; name one for each reader.")
    absent = download.download(items, folder, FORMATS, server)
    if absent:
        reasons = [f"{item.identifier}: {item.reason}" for item in absent]
        raise DataError("\n".join(listed("These items cannot be used", reasons)))
    found = recordings.find(folder)
    return found._replace(recordings=[own for own in found.recordings if own.speaker in items])
