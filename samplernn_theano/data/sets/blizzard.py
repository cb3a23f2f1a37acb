"""The Blizzard set of the paper: audiobooks read by one voice, from the Blizzard Challenge 2013.

The recordings are licensed for research after registration, so they are not downloaded. datasets/README.md
says what is known of the authors' own files.
"""

from pathlib import Path

from samplernn_theano.data.recipes import Recipe, by_units

RECIPE = Recipe(set="blizzard", name="Blizzard9k", sizes=by_units(256), max_clips=42 * 256)
"""Named as the authors' files; 36, 3 and 3 units of 256 clips."""


def chapters(source: Path) -> Path:
    """The folder `unsegmented` in `source` or in a folder of it; `source` itself if there is none."""
    for pattern in ("unsegmented", "*/unsegmented", "*/*/unsegmented"):
        if folders := sorted(path for path in source.glob(pattern) if path.is_dir()):
            return folders[0]
    return source
