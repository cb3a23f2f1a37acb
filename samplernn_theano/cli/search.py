"""The command that searches for hyper-parameters: `samplernn search`."""

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add, add_backend, add_command
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import ReproductionError


def add_search(commands: Any) -> None:
    """Add the command `search`."""
    text = "random search over hyper-parameters, by any number of workers"
    parser = add_command(commands, "search", _search, text)
    model, data, schedule, output = (
        parser.groups["model"],
        parser.groups["data"],
        parser.groups["schedule"],
        parser.groups["output"],
    )
    add(parser, "family", ", ".join(FAMILIES), metavar="FAMILY", choices=tuple(FAMILIES))
    add(data, "--data", "folder of the data set", Path, required=True)
    text = "folder of the search, shared by all workers; run the same command again to resume or to join"
    add(output, "--study", text, Path, required=True, metavar="FOLDER")
    text = "ranges of the hyper-parameters (default: FAMILY.toml of samplernn_theano/search/ranges)"
    add(model, "--ranges", text, Path, metavar="FILE.toml")
    add(schedule, "--trials", "total number of trials, failed ones included", positive_int, 20)
    add(schedule, "--seed", "seed of the drawn values, not of training", seed, 0)
    limit = schedule.add_mutually_exclusive_group()
    add(limit, "--max-minutes", "training time of each trial", positive, 30.0)
    add(limit, "--max-iters", "iterations of each trial, instead of a time", positive_int)
    text = "preset of all other hyper-parameters; the default ranges are multiples of its sizes"
    add(model, "--preset", text, str, "best")
    add(output, "--storage", "database for Optuna (default: a journal file in FOLDER)", metavar="URL")
    add_backend(parser)


def _search(a: argparse.Namespace) -> int:
    if importlib.util.find_spec("optuna") is None:
        raise ReproductionError(
            'The search needs Optuna; install it with: pip install "samplernn-theano[reproduce]"'
        )
    from samplernn_theano.data.dataset import SPLITS, split_path

    for split in SPLITS:  # before Optuna and the models are imported
        split_path(a.data, split)
    from samplernn_theano.search import random_search, search_space

    ranges = a.ranges or search_space.RANGES / f"{a.family}.toml"
    limit = ["--max-iters", str(a.max_iters)] if a.max_iters else ["--max-minutes", f"{a.max_minutes:g}"]
    machine = ["--backend", a.backend] if a.backend else []
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
        default_ranges=a.ranges is None,
    )
    return random_search.search(task)
