"""The Music set of the paper: Beethoven's 32 piano sonatas, from archive.org.

The concatenated recordings, in the order of `ITEMS`, are cut into clips of 8 s and shuffled as the
authors shuffled them; the last 512 are for validation and test. datasets/README.md says what is known of the
authors' own files.
"""

from collections.abc import Sequence
from dataclasses import replace

from samplernn_theano.data.manifest import SplitSizes
from samplernn_theano.data.recipes import Recipe, by_counts
from samplernn_theano.data.recordings import Found, Recording
from samplernn_theano.errors import DataError

# The identifiers on archive.org: most are BeethovenPianoSonataNo.N.
_OTHERS = {
    13: "BeethovenPianoSonata13",
    14: "BeethovenPianoSonataNo.14moonlight",
    15: "BeethovenPianoSonata15",
    16: "BeethovenPianoSonata16",
    17: "BeethovenPianoSonata17",
    21: "BeethovenPianoSonataNo.21Waldstein",
    22: "BeethovenPianoSonata22",
}
ITEMS = [_OTHERS.get(number, f"BeethovenPianoSonataNo.{number}") for number in range(1, 33)]

FORMATS = (".ogg", ".flac", ".wav", ".mp3")
"""Formats in order of preference, if an item has several."""

MIRROR_CLIPS = 4328
"""Number of clips in the mirror, a copy of the set as numbered files."""

RECIPE = Recipe(set="music", name="music", sizes=by_counts(256, 256))


def in_item_order(found: Found) -> tuple[Found, list[str]]:
    """Sort the recordings by item, one format of each; also return the items that have none.

    If no folder is named like an item, they stay sorted by name; there must be as many as items.
    """
    by_item: dict[str, list[Recording]] = {item: [] for item in ITEMS}
    for recording in found.recordings:
        for folder in recording.name.split("/")[:-1]:
            if folder in by_item:
                by_item[folder].append(recording)
    if not any(by_item.values()):
        if len(found.recordings) > len(ITEMS):
            raise DataError(
                f"There are {len(found.recordings)} recordings and the set has {len(ITEMS)}; keep one of "
                "each sonata, or put them into folders named like the items of archive.org."
            )
        lacking = len(ITEMS) - len(found.recordings)
        return found, [f"{lacking} of {len(ITEMS)} recordings"] if lacking else []
    taken: list[Recording] = []
    for own in by_item.values():
        formats = [[one for one in own if one.path.suffix.lower() == suffix] for suffix in FORMATS]
        taken += next(filter(None, formats), own)
    ignored = found.ignored + len(found.recordings) - len(taken)
    missing = [item for item, own in by_item.items() if not own]
    return found._replace(recordings=taken, ignored=ignored), missing


def is_mirror(found: Sequence[Recording]) -> bool:
    """True if there are more recordings than items, all named by numbers, as the mirror's clips are."""
    return len(found) > len(ITEMS) and all(
        recording.path.stem.isascii() and recording.path.stem.isdigit() for recording in found
    )


def in_number_order(found: Found) -> tuple[Found, list[str]]:
    """Sort the mirror's clips by number; also return the numbers that are missing."""
    clips = sorted(found.recordings, key=lambda recording: int(recording.path.stem))
    numbers = {int(recording.path.stem) for recording in clips}
    if len(numbers) < len(clips):
        raise DataError("Two clips have the same number; give a folder with each of them once.")
    return found._replace(recordings=clips), [str(k) for k in range(MIRROR_CLIPS) if k not in numbers]


def mirror_recipe(recipe: Recipe) -> Recipe:
    """`recipe` for the mirror's clips, which are cut already and keep their order."""
    return replace(recipe, sizes=mirror_sizes, stride_seconds=None, one_clip_each=True, order="as it is")


def mirror_sizes(clips: int) -> SplitSizes:
    """0-3807, 3808-4067 and 4068-4327 of 4,328 clips; 88, 6 and 6 % where some are missing or silent."""
    train, end = int(0.88 * clips), int(0.94 * clips)
    return SplitSizes(train, end - train, clips - end)
