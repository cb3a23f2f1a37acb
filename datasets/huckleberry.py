"""Make a set of two readers, as the paper's Huckleberry Finn: LibriVox chapters read by a man and by a woman.

    python datasets/huckleberry.py --source FOLDER --out data/huckleberry
    python datasets/huckleberry.py --items IDENTIFIER IDENTIFIER --out data/huckleberry

FOLDER holds a sub-folder for each reader. A book of LibriVox is an item of archive.org; its identifier is the
last part of the item's address. The authors' readers are not known: README.md beside this file.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from samplernn_theano import adopt, archive, prepare, recordings
from samplernn_theano.arguments import Parser, guarded, positive_int
from samplernn_theano.cli_data import add_common, add_cutting, report
from samplernn_theano.errors import DataError
from samplernn_theano.manifest import listed
from samplernn_theano.recipe import Recipe, by_units

NAME = "Huckleberry"  # as the authors' files
CLIPS = 42 * 256  # 36, 3 and 3 units of 256, as Blizzard
RENDITIONS = ("_64kb.mp3", ".mp3")  # of which LibriVox has several: the smaller one is enough for 16 kHz


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    a = parse(argv)
    prepare.check_out(a.out, NAME, a.overwrite)
    if a.source is not None and any(a.source.glob("*_train.npy")):
        report(adopt.adopt(a.source, a.out, "huckleberry", NAME, a.overwrite), a.out)
        return 0
    folder, missing = a.source, []
    if folder is None:
        folder = a.out / "original"
        missing = [
            f"{item.identifier}: {item.reason}"
            for item in archive.download(a.items, folder, RENDITIONS, a.server)
        ]
    if missing:
        raise DataError("\n".join(listed("These items cannot be used", missing)))
    recipe = Recipe(
        set="huckleberry",
        name=NAME,
        sizes=by_units(a.unit),
        stride_seconds=a.stride,
        most=a.clips,
        by_speaker=True,
        balanced=True,
        seed=a.seed,
        strict=not a.allow_missing,
        allow_upsampling=a.allow_upsampling,
    )
    report(prepare.build(recordings.find(folder), a.out, recipe, a.overwrite), a.out)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(description="Make a set of two readers of one book.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--source",
        type=Path,
        help="folder with a sub-folder of chapters for each reader, or the authors' npy files",
    )
    where.add_argument(
        "--items", nargs="+", metavar="IDENTIFIER", help="items of archive.org, one for each reader"
    )
    parser.add_argument(
        "--clips",
        type=positive_int,
        default=CLIPS,
        help="at most so many, half of each reader (default: %(default)s)",
    )
    parser.add_argument(
        "--unit", type=positive_int, default=256, help="clips that stay together (default: %(default)s)"
    )
    parser.add_argument(
        "--server", default=archive.SERVER, help="another server that is laid out as %(default)s"
    )
    add_cutting(parser)
    add_common(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(guarded(main))
