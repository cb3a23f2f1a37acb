"""The command that makes the paper's tables anew: `samplernn reproduce`."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.config.argument_types import positive, positive_int


def add_reproduce(commands: Any) -> None:
    """Add the command `reproduce`."""
    parser = commands.add_parser(
        "reproduce",
        help="the numbers of the paper, by cell of its tables",
        description="Train, score and listen to cells of the paper's tables, do only what is missing, and "
        "write a report. Given again, the same command goes on.",
    )
    parser.add_argument(
        "cells",
        metavar="CELL",
        nargs="*",
        help="such as table1/music/three_tier, table1/music, table3, all; see --list",
    )
    parser.add_argument("--list", action="store_true", help="name the cells and the published numbers")
    parser.add_argument(
        "--scale",
        default="paper",
        help="smoke (seconds), laptop (minutes) or paper (days); default: %(default)s",
    )
    parser.add_argument("--out", type=Path, help="folder of everything (default: reproduction/SCALE)")
    for name, what in {
        "data": "use this prepared data set as it is",
        "recordings": "make the data set of these recordings",
        "about": "say in the report what the set is, where it is not the paper's",
    }.items():
        value = "TEXT" if name == "about" else "FOLDER"
        parser.add_argument(
            f"--{name}", metavar=f"SET={value}", type=_pair, action="append", default=[], help=what
        )
    parser.add_argument(
        "--seeds", type=positive_int, default=1, help="train each cell so many times (default: %(default)s)"
    )
    parser.add_argument("--max-minutes", type=positive, help="of each training, in place of the scale's")
    parser.add_argument("--cores", type=positive_int, help="to be used at once (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="only print the commands that are to be run")
    parser.add_argument("--report", action="store_true", help="only write the report of what is in --out")
    parser.add_argument(
        "--profile", help="Snakemake's, for a cluster: a folder, or slurm for the one in reproduce/profiles"
    )
    parser.add_argument(
        "--snakemake", metavar="OPTIONS", default="", help="more for Snakemake, as in --snakemake='--jobs 8'"
    )
    parser.set_defaults(command=_reproduce)


def _pair(word: str) -> tuple[str, str]:
    from samplernn_theano.reproduction.cells import SETS

    name, _, value = word.partition("=")
    if name not in SETS or not value:
        raise argparse.ArgumentTypeError(f"{word!r} is not SET=..., with one of the sets {', '.join(SETS)}")
    return name, value


def _reproduce(a: argparse.Namespace) -> int:
    from samplernn_theano.errors import ReproductionError
    from samplernn_theano.reproduction import cells, files, listing, plan, scales

    folder = files.folder()
    if a.list:
        print(listing.describe_cells(folder))
        return 0
    scales.read(folder, a.scale)
    out = (a.out or Path("reproduction") / a.scale).absolute()
    if a.report:
        from samplernn_theano.reproduction import report

        plan.load(out)
        print(f"The report is {report.write(out, folder)}")
        return 0
    if not a.cells:
        raise ReproductionError("Name a cell, such as table1/music/three_tier; --list names them all.")
    from samplernn_theano.reproduction import workflow

    seeds = [plan.FIRST_SEED + i for i in range(a.seeds)]
    known = [*cells.read(folder), *cells.listening_tests(folder)]
    asked = plan.Workflow(
        out=out,
        scale=a.scale,
        cells=dict.fromkeys(cells.select(a.cells, known), seeds),
        data=_absolute(a.data),
        recordings=_absolute(a.recordings),
        about=dict(a.about),
        max_minutes=a.max_minutes,
    )
    plan.check_use(asked)
    whole = workflow.join(asked)
    plan.check_data(whole)
    if a.dry_run:
        print(listing.commands(whole))
        return 0
    return workflow.run(whole, a.cores, workflow.options(a.profile, a.snakemake))


def _absolute(pairs: list[tuple[str, str]]) -> dict[str, str]:
    return {name: str(Path(folder).absolute()) for name, folder in pairs}
