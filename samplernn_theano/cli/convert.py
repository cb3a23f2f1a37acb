"""The command convert."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add_set


def add_convert(commands: Any) -> None:
    """Add the command convert."""
    parser = commands.add_parser(
        "convert",
        help="convert checkpoints and runs from and to the original's formats",
        description="OUT.npz: a checkpoint, from parameters of the original. OUT.pkl: parameters for the "
        "original, from a checkpoint. Any other OUT is a folder: if IN is a run, the parent of the "
        "original's results folder (results_3t/...); if IN is a results folder of the original, the run "
        "folder.",
    )
    parser.add_argument(
        "source",
        metavar="IN",
        type=Path,
        help="a checkpoint (.npz, or .pkl of the original), a run, or a results folder of the original; a "
        "file is made from its best parameters",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a file .npz or .pkl, or a folder")
    add_set(parser, "a hyper-parameter that the files do not contain, or another value")
    parser.add_argument(
        "--which_set", metavar="NAME", help="the original's name of the data set (default: the run's)"
    )
    parser.add_argument(
        "--exp", metavar="NAME", help="name of the experiment in a results folder (default: the run's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file or run")
    parser.set_defaults(command=_convert)


def _convert(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import convert
    from samplernn_theano.data.manifest import printable

    print(printable(convert.convert(a.source, a.out, a.set, a.which_set, a.exp, a.overwrite)))
    return 0
