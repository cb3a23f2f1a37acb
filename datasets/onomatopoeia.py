"""Make a set like the Onomatopoeia set of the paper: short vocal sounds, each a clip of its own length.

    python datasets/onomatopoeia.py --source FOLDER --out data/onomatopoeia

The authors' 6,738 recordings belong to Ubisoft and were never public: FOLDER is whatever recordings you have,
in a sub-folder for each speaker or not. README.md beside this file says what is known of the authors' set.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from samplernn_theano.cli.data import add_common, report
from samplernn_theano.cli.options import Parser
from samplernn_theano.config.argument_types import positive
from samplernn_theano.data import prepare, recordings
from samplernn_theano.data.recipes import Recipe, by_fractions
from samplernn_theano.data.set_folder import own_files
from samplernn_theano.utils.commands import run_command

NAME = "onom"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    a = parse(argv)
    recipe = Recipe(
        set="onomatopoeia",
        name=NAME,
        sizes=by_fractions(a.valid_fraction, a.test_fraction),
        variable_length=True,
        shortest=a.shortest,
        longest=a.longest,
        order="shuffled train",
        seed=a.seed,
        allow_upsampling=a.allow_upsampling,
    )
    found = recordings.find(a.source, own_files(a.out, NAME))
    report(prepare.build(found, a.out, recipe, a.overwrite), a.out)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(description="Make a set of short sounds, each a clip of its own length.")
    parser.add_argument(
        "--source", type=Path, required=True, help="folder of recordings, also in sub-folders"
    )
    parser.add_argument(
        "--shortest",
        type=positive,
        default=1.0,
        help="leave out those of fewer seconds (default: %(default)g)",
    )
    parser.add_argument(
        "--longest", type=positive, default=11.0, help="and those of more seconds (default: %(default)g)"
    )
    parser.add_argument(
        "--valid-fraction", type=float, default=0.04, help="share of the clips (default: %(default)s)"
    )
    parser.add_argument(
        "--test-fraction", type=float, default=0.04, help="share of the clips (default: %(default)s)"
    )
    add_common(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(run_command(main))
