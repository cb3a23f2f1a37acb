"""Make the Music set of the paper: Beethoven's 32 piano sonatas, from archive.org.

    python datasets/music.py --out data/music

downloads one item per sonata (about 10 h), and cuts them into clips of 8 s: all recordings one after the
other, in the order of ITEMS, shuffled as the authors shuffled them, the last 512 for validation and test.
README.md beside this file says what is known of the authors' own files.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from samplernn_theano.cli.data import add_common, add_cutting, check_unused, report, take_over
from samplernn_theano.cli.options import Parser
from samplernn_theano.config.argument_types import positive_int
from samplernn_theano.data import download, prepare, recordings
from samplernn_theano.data.manifest import Sizes, listed
from samplernn_theano.data.recipes import Recipe, by_counts
from samplernn_theano.data.recordings import Found, Recording
from samplernn_theano.data.set_folder import check_out
from samplernn_theano.errors import DataError
from samplernn_theano.utils.commands import run_command

# The identifiers as archive.org has them: most are BeethovenPianoSonataNo.N, and seven are not.
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

RENDITIONS = (".ogg", ".flac", ".wav", ".mp3")  # of which one is taken where an item has several

MIRROR_CLIPS = 4328  # of the copy that comes as numbered clips


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    a = parser.parse_args(argv)
    check_out(a.out, "music", a.overwrite)
    if take_over(a, parser, "music", "music"):
        return 0
    recipe = Recipe(
        set="music",
        name="music",
        sizes=by_counts(a.valid_clips, a.test_clips),
        stride_seconds=a.stride,
        legacy_count=a.legacy_count,
        seed=a.seed,
        strict=not a.allow_missing,
        allow_upsampling=a.allow_upsampling,
    )
    folder, missing = a.source, []
    if folder is None:
        folder = a.out / "original"
        absent = download.download(ITEMS, folder, RENDITIONS[:1], a.server)
        missing = [f"{item.identifier}: {item.reason}" for item in absent]
        if len({item.identifier for item in absent}) == len(ITEMS):
            raise DataError("\n".join(listed(f"{a.server} has none of the items", missing)))
    found = recordings.find(folder)
    if is_mirror(found.recordings):
        check_unused(a, parser, "source out overwrite allow_missing", "the mirror's clips")
        found, missing = in_number_order(found)
        recipe = replace(
            recipe, sizes=mirror_sizes, stride_seconds=None, one_clip_each=True, order="as it is"
        )
    else:
        found, absent_names = in_item_order(found)
        missing = missing or absent_names
    if missing and not a.allow_missing:
        told = "\n".join(listed(f"Missing in {folder}", missing))
        raise DataError(f"{told}\nAdd them, or pass --allow-missing to go on without them.")
    report(prepare.build(found, a.out, recipe, a.overwrite, missing=missing), a.out)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = Parser(description="Make the Music set: Beethoven's 32 piano sonatas, from archive.org.")
    parser.add_argument(
        "--source",
        type=Path,
        help="start from this folder, download nothing: recordings (in a sub-folder per item or not), "
        "the authors' music_{train,valid,test}.npy, or the mirror's numbered clips",
    )
    parser.add_argument(
        "--legacy-count", action="store_true", help="make seconds // 8 - 1 clips, as the authors' script"
    )
    parser.add_argument("--valid-clips", type=positive_int, default=256, help="default: %(default)s")
    parser.add_argument("--test-clips", type=positive_int, default=256, help="default: %(default)s")
    parser.add_argument(
        "--server", default=download.SERVER, help="another server that is laid out as %(default)s"
    )
    add_cutting(parser)
    add_common(parser)
    return parser


def in_item_order(found: Found) -> tuple[Found, list[str]]:
    """Sort the recordings by item, take one rendition of each, and name the items that have none.

    If none lies in a folder named as an item, they stay sorted by name; there must be as many as items.
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
                "each sonata, or put them into folders named as the items of archive.org are."
            )
        lacking = len(ITEMS) - len(found.recordings)
        return found, [f"{lacking} of {len(ITEMS)} recordings"] if lacking else []
    taken = [recording for own in by_item.values() for recording in one_rendition(own)]
    ignored = found.ignored + len(found.recordings) - len(taken)
    missing = [item for item, own in by_item.items() if not own]
    return found._replace(recordings=taken, ignored=ignored), missing


def one_rendition(own: Sequence[Recording]) -> list[Recording]:
    """Of the recordings of an item those with the best suffix that it has."""
    for suffix in RENDITIONS:
        if best := [recording for recording in own if recording.path.suffix.lower() == suffix]:
            return best
    return list(own)


def is_mirror(found: Sequence[Recording]) -> bool:
    """Say whether there are many recordings, named by numbers alone, as the clips of the mirror are."""
    return len(found) > len(ITEMS) and all(
        recording.path.stem.isascii() and recording.path.stem.isdigit() for recording in found
    )


def in_number_order(found: Found) -> tuple[Found, list[str]]:
    """Sort the mirror's clips by number, and name the numbers that are missing."""
    clips = sorted(found.recordings, key=lambda recording: int(recording.path.stem))
    numbers = {int(recording.path.stem) for recording in clips}
    if len(numbers) < len(clips):
        raise DataError("Two clips bear the same number; give the folder that holds each once.")
    return found._replace(recordings=clips), [str(k) for k in range(MIRROR_CLIPS) if k not in numbers]


def mirror_sizes(clips: int) -> Sizes:
    """0-3807, 3808-4067 and 4068-4327 of 4,328 clips; 88, 6 and 6 % where some are missing or silent."""
    train, end = int(0.88 * clips), int(0.94 * clips)
    return Sizes(train, end - train, clips - end)


if __name__ == "__main__":
    sys.exit(run_command(main))
