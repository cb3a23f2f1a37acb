"""The command that searches for hyper-parameters: `samplernn search`."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add_backend
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import ReproductionError


def add_search(commands: Any) -> None:
    """Give `commands` the command search."""
    parser = commands.add_parser("search", help="random search over hyper-parameters, by many workers")
    parser.add_argument("family", metavar="FAMILY", choices=FAMILIES, help=", ".join(FAMILIES))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--study",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="of the search, which all workers see; the same command goes on with it, or joins in",
    )
    parser.add_argument(
        "--ranges", type=Path, metavar="FILE.toml", help="default: reproduce/search/FAMILY.toml"
    )
    parser.add_argument(
        "--trials", type=positive_int, default=20, help="in all, failed ones included (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of what is drawn, not of training (default: %(default)s)"
    )
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--max-minutes", type=positive, default=30.0, help="of training for each trial (default: %(default)g)"
    )
    limit.add_argument(
        "--max-iters", type=positive_int, help="iterations for each trial, in place of minutes"
    )
    parser.add_argument(
        "--preset", default="best", help="values that are neither fixed nor drawn (default: %(default)s)"
    )
    parser.add_argument(
        "--storage", metavar="URL", help="a data base for Optuna (default: a journal file in FOLDER)"
    )
    add_backend(parser)
    parser.set_defaults(command=_search)


def _search(a: argparse.Namespace) -> int:
    if importlib.util.find_spec("optuna") is None:
        raise ReproductionError(
            'The search needs Optuna; install it with: pip install "samplernn-theano[reproduce]"'
        )
    from samplernn_theano.reproduction import files
    from samplernn_theano.search import random_search, search_space

    ranges = a.ranges or files.folder() / "search" / f"{a.family}.toml"
    limit = ["--max-iters", str(a.max_iters)] if a.max_iters else ["--max-minutes", f"{a.max_minutes:g}"]
    machine = [*(["--backend", a.backend] if a.backend else [])]
    machine += ["--threads", str(a.threads)] if a.threads else []
    task = random_search.Task(
        space=search_space.read(ranges, a.family, a.preset),
        data=a.data,
        folder=a.study,
        trials=a.trials,
        seed=a.seed,
        limit=limit,
        machine=machine,
        storage=a.storage,
    )
    return random_search.search(task)
