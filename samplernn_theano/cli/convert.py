"""The command convert."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add_set


def add_convert(commands: Any) -> None:
    """Give `commands` the command convert."""
    parser = commands.add_parser(
        "convert",
        help="write a checkpoint or run of the original's as ours, or ours as the original's",
        description="OUT.npz: a checkpoint of ours, of parameters of the original's. OUT.pkl: parameters for "
        "the original, of a checkpoint of ours. Any other OUT is a folder. Of a run of ours: where the "
        "original's results folder (results_3t/...) is to be. Of a results folder of the original's: the "
        "run of ours.",
    )
    parser.add_argument(
        "source",
        metavar="IN",
        type=Path,
        help="a checkpoint (.npz, or .pkl of the original's), a run or a results folder of the original's; a "
        "file is made of its best parameters",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a file .npz or .pkl, or a folder")
    add_set(parser, "a hyper-parameter that is not as the files tell, or that nothing tells")
    parser.add_argument(
        "--which_set", metavar="NAME", help="the original's name of the data set (default: the run's)"
    )
    parser.add_argument(
        "--exp", metavar="NAME", help="name of the experiment in a results folder (default: the run's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file or run that is there")
    parser.set_defaults(command=_convert)


def _convert(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import convert
    from samplernn_theano.data.manifest import printable

    said = convert.convert(a.source, a.out, a.set, a.which_set, a.exp, a.overwrite)
    print(printable(said))
    return 0
