"""Make the Blizzard set of the paper: audiobooks read by one voice, from the Blizzard Challenge 2013.

    python datasets/blizzard.py --source FOLDER --out data/blizzard

The recordings are licensed for research after registration, so they are not downloaded: FOLDER is what was
unpacked. README.md beside this file says what is known of the authors' own files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from samplernn_theano.cli.data import add_common, add_cutting, report, take_over
from samplernn_theano.cli.options import Parser
from samplernn_theano.config.argument_types import positive_int, seed
from samplernn_theano.data import prepare, recordings
from samplernn_theano.data.recipes import Recipe, by_units
from samplernn_theano.data.set_folder import check_out
from samplernn_theano.errors import DataError
from samplernn_theano.utils.commands import run_command

NAME = "Blizzard9k"  # as the authors' files
CLIPS = 42 * 256  # 36, 3 and 3 units of 256

HOW_TO_GET_IT = """\
The recordings of the Blizzard Challenge 2013 (about 300 h, read by Catherine Byers, given by Lessac
Technologies) may be used for research only, and are not ours to pass on:
  1. Register for them with the Centre for Speech Technology Research, University of Edinburgh: the page of
     the Blizzard Challenge 2013 has the licence. A user name and a password come by mail.
  2. Download Lessac_Blizzard2013_CatherineByers_train.tar.bz2 and unpack it.
  3. Run: python datasets/blizzard.py --source FOLDER --out data/blizzard
     FOLDER is what was unpacked; it holds a folder named unsegmented, with a chapter in each mp3 file."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = build_parser()
    a = parser.parse_args(argv)
    if a.source is None or not a.source.is_dir():
        what = "--source is missing." if a.source is None else f"There is no folder {a.source}."
        raise DataError(f"{what}\n{HOW_TO_GET_IT}")
    check_out(a.out, NAME, a.overwrite)
    if take_over(a, parser, "blizzard", NAME):
        return 0
    recipe = Recipe(
        set="blizzard",
        name=NAME,
        sizes=by_units(a.unit),
        stride_seconds=a.stride,
        most=a.clips,
        choice=a.choose,
        seed=a.seed,
        strict=not a.allow_missing,
        allow_upsampling=a.allow_upsampling,
    )
    found = recordings.find(chapters(a.source))
    report(prepare.build(found, a.out, recipe, a.overwrite), a.out)
    return 0


def chapters(source: Path) -> Path:
    """The folder `unsegmented` in `source` or in a folder of it; `source` itself if there is none."""
    for pattern in ("unsegmented", "*/unsegmented", "*/*/unsegmented"):
        if folders := sorted(path for path in source.glob(pattern) if path.is_dir()):
            return folders[0]
    return source


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = Parser(
        description="Make the Blizzard set: audiobooks read by one voice.",
        epilog=HOW_TO_GET_IT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source", type=Path, help="the unpacked recordings (mp3 or wav), or the authors' Blizzard9k_*.npy"
    )
    parser.add_argument(
        "--clips", type=positive_int, default=CLIPS, help="how many to take (default: %(default)s)"
    )
    parser.add_argument(
        "--choose",
        type=seed,
        metavar="SEED",
        help="draw them among all by this seed (default: the first ones)",
    )
    parser.add_argument(
        "--unit", type=positive_int, default=256, help="clips that stay together (default: %(default)s)"
    )
    add_cutting(parser)
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
