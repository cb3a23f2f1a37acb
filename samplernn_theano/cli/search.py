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
    """Add the command `search`."""
    parser = commands.add_parser(
        "search", help="random search over hyper-parameters, by any number of workers"
    )
    parser.add_argument("family", metavar="FAMILY", choices=FAMILIES, help=", ".join(FAMILIES))
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--study",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder of the search, shared by all workers; run the same command again to resume or to join",
    )
    parser.add_argument(
        "--ranges",
        type=Path,
        metavar="FILE.toml",
        help="ranges of the hyper-parameters (default: FAMILY.toml of samplernn_theano/search/ranges)",
    )
    parser.add_argument(
        "--trials",
        type=positive_int,
        default=20,
        help="total number of trials, failed ones included (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="seed of the drawn values, not of training (default: %(default)s)",
    )
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--max-minutes",
        type=positive,
        default=30.0,
        help="training time of each trial (default: %(default)g)",
    )
    limit.add_argument("--max-iters", type=positive_int, help="iterations of each trial, instead of a time")
    parser.add_argument(
        "--preset", default="best", help="preset of all other hyper-parameters (default: %(default)s)"
    )
    parser.add_argument(
        "--storage", metavar="URL", help="database for Optuna (default: a journal file in FOLDER)"
    )
    add_backend(parser)
    parser.set_defaults(command=_search)


def _search(a: argparse.Namespace) -> int:
    if importlib.util.find_spec("optuna") is None:
        raise ReproductionError(
            'The search needs Optuna; install it with: pip install "samplernn-theano[reproduce]"'
        )
    from samplernn_theano.search import random_search, search_space

    ranges = a.ranges or search_space.RANGES / f"{a.family}.toml"
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
