"""A set of two readers, as the paper's Huckleberry Finn: LibriVox chapters read by a man and by a woman.

A book of LibriVox is an item of archive.org. The authors' readers are not known: see datasets/README.md.
"""

from samplernn_theano.data.recipes import Recipe, by_units

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
