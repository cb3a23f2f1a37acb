"""The commands inspect, show and convert."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import MODEL, add, add_command, add_set, figure_file
from samplernn_theano.errors import DataError
from samplernn_theano.utils.text import escape_control_characters


def add_inspect(commands: Any) -> None:
    """Add the command inspect."""
    text = "describe a checkpoint, run or file of the original"
    parser = add_command(commands, "inspect", _inspect, text)
    add(parser, "path", f"{MODEL}, or train_log.pkl or args.pkl of the original", Path)


def _inspect(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import inspect

    print(inspect.describe(a.path))
    return 0


def add_show(commands: Any) -> None:
    """Add the command show."""
    parser = add_command(commands, "show", _show, "status, scores and learning curves of runs")
    text = "folder of a run, or results folder of the original"
    add(parser, "runs", text, Path, nargs="+", metavar="RUN")
    add(parser, "--picture", "also plot the curves to this file", figure_file, metavar="FILE.png")
    text = "also write RUN/index.html: learning curve, settings, and the sounds of each evaluation"
    add(parser, "--page", text, bool)
    text = "also judge each run: is it where runs of its model should be, and if not, why may that be"
    add(parser, "--against", text, choices=("reference",))
    add(parser, "--data", "with --against: folder of the data set, if it was moved", Path)


def _show(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import show, status, verdict

    if a.data and not a.against:
        raise DataError("--data is the set that --against reference reads; give both, or neither.")
    if a.data and not a.data.is_dir():
        raise DataError(f"There is no data folder {a.data}.")
    runs = [status.read(folder) for folder in a.runs]
    print(show.describe(runs))
    for run in runs if a.against else ():
        title = escape_control_characters(f"{run.folder}:\n", keep="\n") * (len(runs) > 1)
        print(f"\n{title}{verdict.describe(run, verdict.judge(run, a.data))}")
    if a.picture:
        show.draw(a.picture, runs)
        print(f"Wrote {a.picture}.")
    for run in runs if a.page else ():
        from samplernn_theano.generation import run_page

        print(escape_control_characters(f"Wrote {run_page.write_page(run)}."))
    return 0


def add_convert(commands: Any) -> None:
    """Add the command convert."""
    parser = add_command(
        commands,
        "convert",
        _convert,
        "convert checkpoints and runs from and to the original's formats, or export them",
        description="OUT.npz: a checkpoint, from parameters of the original or an exported model. OUT.pkl: "
        "parameters for the original. OUT.safetensors: an exported model, with a model card README.md to "
        "be shared. Any other OUT is a folder: if IN is a run, the parent of the "
        "original's results folder (results_3t/...); if IN is a results folder of the original, the run "
        "folder.",
    )
    add(parser, "source", f"{MODEL}, or a results folder of the original", Path, metavar="IN")
    add(parser, "out", "a file .npz, .pkl or .safetensors, or a folder", Path, metavar="OUT")
    add_set(parser, "a hyper-parameter that the files do not contain, or another value")
    add(parser, "--which_set", "the original's name of the data set (default: the run's)", metavar="NAME")
    add(parser, "--exp", "name of the experiment in a results folder (default: the run's)", metavar="NAME")
    add(parser, "--overwrite", "replace an existing file, card or run", bool)


def _convert(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import convert

    print(convert.convert(a.source, a.out, a.set, a.which_set, a.exp, a.overwrite))
    return 0
