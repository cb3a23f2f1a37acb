"""The commands inspect and show."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import figure_file


def add_inspect(commands: Any) -> None:
    """Add the command inspect."""
    parser = commands.add_parser("inspect", help="describe a checkpoint, run or file of the original")
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
    """Add the command show."""
    parser = commands.add_parser("show", help="status, scores and learning curves of runs")
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder of a run, or results folder of the original"
    )
    parser.add_argument(
        "--picture", type=figure_file, metavar="FILE.png", help="also plot the curves to this file"
    )
    parser.set_defaults(command=_show)


def _show(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import show, status

    runs = [status.read(folder) for folder in a.runs]
    print(show.describe(runs))
    if a.picture:
        show.draw(a.picture, runs)
        print(f"Wrote {a.picture}.")
    return 0
