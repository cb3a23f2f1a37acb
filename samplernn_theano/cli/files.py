"""The commands that tell what a file or a run is: inspect, show."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import picture


def add_inspect(commands: Any) -> None:
    """Give `commands` the command inspect."""
    parser = commands.add_parser("inspect", help="what a file of ours or the original's holds")
    parser.add_argument(
        "path",
        type=Path,
        help="a checkpoint (.npz), the original's params_*.pkl, train_log.pkl or args.pkl, or a run",
    )
    parser.set_defaults(command=_inspect)


def _inspect(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import inspect

    print(inspect.describe(a.path))
    return 0


def add_show(commands: Any) -> None:
    """Give `commands` the command show."""
    parser = commands.add_parser("show", help="where runs stand: scores and learning curves")
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder of a run of ours or the original's"
    )
    parser.add_argument(
        "--picture", type=picture, metavar="FILE.png", help="also draw the curves into this file"
    )
    parser.set_defaults(command=_show)


def _show(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import show, status

    shown = [status.read(folder) for folder in a.runs]
    print(show.describe(shown))
    if a.picture:
        show.draw(a.picture, shown)
        print(f"The picture is {a.picture}.")
    return 0
