"""The three sets of human voices in the paper; datasets/README.md says what is known of the authors' files.

Blizzard: audiobooks read by one voice, from the Blizzard Challenge 2013, licensed for research after
registration. Huckleberry Finn: LibriVox chapters read by a man and by a woman; a book is an item of
archive.org. Onomatopoeia: short vocal sounds, each a clip of its own length; the authors' 6,738 recordings
belong to Ubisoft and were never public.
"""

from pathlib import Path

from samplernn_theano.data.recipes import Recipe, by_fractions, by_units

# Named as the authors' files; 36, 3 and 3 units of 256 clips.
BLIZZARD = Recipe(set="blizzard", name="Blizzard9k", sizes=by_units(256), max_clips=42 * 256)
HUCKLEBERRY = Recipe(
    set="huckleberry",
    name="Huckleberry",
    sizes=by_units(256),
    max_clips=42 * 256,
    by_speaker=True,
    balanced=True,
)
ONOMATOPOEIA = Recipe(
    set="onomatopoeia",
    name="onom",
    sizes=by_fractions(0.04, 0.04),
    variable_length=True,
    shortest=1.0,
    longest=11.0,
    order="shuffled train",
)

LIBRIVOX_FORMATS = ("_64kb.mp3", ".mp3")
"""Formats in order of preference: 64 kbit/s is enough for 16 kHz."""


def blizzard_chapters(source: Path) -> Path:
    """The folder `unsegmented` in `source` or in a folder of it; `source` itself if there is none."""
    for pattern in ("unsegmented", "*/unsegmented", "*/*/unsegmented"):
        if folders := sorted(path for path in source.glob(pattern) if path.is_dir()):
            return folders[0]
    return source
