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

from samplernn_theano.cli.data import add_common, add_cutting, report, take_over
from samplernn_theano.cli.options import Parser
from samplernn_theano.config.argument_types import positive_int
from samplernn_theano.data import download, prepare, recordings
from samplernn_theano.data.manifest import listed
from samplernn_theano.data.recipes import Recipe, by_units
from samplernn_theano.data.recordings import Found
from samplernn_theano.data.set_folder import check_out
from samplernn_theano.errors import DataError
from samplernn_theano.utils.commands import run_command

NAME = "Huckleberry"  # as the authors' files
CLIPS = 42 * 256  # 36, 3 and 3 units of 256, as Blizzard
RENDITIONS = ("_64kb.mp3", ".mp3")  # of which LibriVox has several: the smaller one is enough for 16 kHz


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    a = parser.parse_args(argv)
    check_out(a.out, NAME, a.overwrite)
    if take_over(a, parser, "huckleberry", NAME):
        return 0
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
    found = (
        recordings.find(a.source) if a.items is None else downloaded(a.items, a.out / "original", a.server)
    )
    report(prepare.build(found, a.out, recipe, a.overwrite), a.out)
    return 0


def downloaded(items: Sequence[str], folder: Path, server: str) -> Found:
    """The chapters of these items, which are downloaded to `folder`; what else lies there is passed over."""
    if len(set(items)) < 2:
        raise DataError("--items names one item; name one for each reader.")
    absent = download.download(items, folder, RENDITIONS, server)
    if absent:
        told = [f"{item.identifier}: {item.reason}" for item in absent]
        raise DataError("\n".join(listed("These items cannot be used", told)))
    found = recordings.find(folder)
    return found._replace(recordings=[own for own in found.recordings if own.speaker in items])


def build_parser() -> argparse.ArgumentParser:
    """All options."""
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
        "--server", default=download.SERVER, help="another server that is laid out as %(default)s"
    )
    add_cutting(parser)
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
