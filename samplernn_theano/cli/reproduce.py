"""The command that reproduces the paper's tables: `samplernn reproduce`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add, add_command
from samplernn_theano.config.argument_types import positive, positive_int


def add_reproduce(commands: Any) -> None:
    """Add the command `reproduce`."""
    parser = add_command(
        commands,
        "reproduce",
        _reproduce,
        "reproduce the paper's tables, one experiment or many",
        description="Train, evaluate and sample the models of the paper's experiments, and write a report. "
        "Only missing steps are run; run the same command again to resume.",
    )
    text = "such as table1/music/three_tier, table1/music, table3, all; see --list"
    add(parser, "experiments", text, metavar="EXPERIMENT", nargs="*")
    add(parser, "--list", "list the experiments and the published numbers", bool)
    add(parser, "--scale", "smoke (seconds), laptop (minutes) or paper (days)", str, "paper")
    add(parser, "--out", "folder of all outputs (default: reproduction/SCALE)", Path)
    for name, metavar, text in (
        ("--data", "SET=FOLDER", "use this prepared data set"),
        ("--recordings", "SET=FOLDER", "make the data set from these recordings"),
        ("--about", "SET=TEXT", "description of the data for the report, if they are not the paper's"),
    ):
        parser.add_argument(name, metavar=metavar, type=_pair, action="append", default=[], help=text)
    add(parser, "--seeds", "number of runs of each experiment", positive_int, 1)
    add(parser, "--max-minutes", "training time of each model, overriding the scale's", positive)
    add(parser, "--cores", "maximum number of cores (default: all)", positive_int)
    add(parser, "--dry-run", "only print the commands of the missing steps", bool)
    add(parser, "--report", "only write the report on the results in --out", bool)
    add(parser, "--profile", "profile of Snakemake for a cluster: slurm (included), or a folder of your own")
    text = "more options of Snakemake, such as --snakemake='--jobs 8'"
    parser.add_argument("--snakemake", metavar="OPTIONS", default="", help=text)


def _pair(argument: str) -> tuple[str, str]:
    from samplernn_theano.reproduction.experiments import SETS

    name, _, value = argument.partition("=")
    if name not in SETS or not value:
        known = ", ".join(SETS)
        raise argparse.ArgumentTypeError(f"{argument!r} is not SET=..., with one of the sets {known}")
    return name, value


def _reproduce(a: argparse.Namespace) -> int:
    from samplernn_theano.errors import ReproductionError
    from samplernn_theano.reproduction import plan, scales
    from samplernn_theano.reproduction.experiments import (
        read_experiments,
        read_listening_tests,
        select_experiments,
    )

    if a.list:
        print(_experiments())
        return 0
    scales.read(a.scale)
    out = (a.out or Path("reproduction") / a.scale).absolute()
    if a.report:
        from samplernn_theano.reproduction import report

        plan.load(out)
        print(f"The report is {report.write(out)}")
        return 0
    if not a.experiments:
        raise ReproductionError("Name an experiment, such as table1/music/three_tier; --list shows all.")
    from samplernn_theano.reproduction import workflow

    seeds = [plan.FIRST_SEED + i for i in range(a.seeds)]
    known = [*read_experiments(), *read_listening_tests()]
    requested = plan.Workflow(
        out=out,
        scale=a.scale,
        experiments=dict.fromkeys(select_experiments(a.experiments, known), seeds),
        data=_absolute(a.data),
        recordings=_absolute(a.recordings),
        about=dict(a.about),
        max_minutes=a.max_minutes,
    )
    plan.check_use(requested)
    whole = workflow.join(requested)
    plan.check_data(whole)
    if a.dry_run:
        commands = [plan.command(whole, *step) for step in plan.missing(whole)]
        print("\n".join(shlex.join(command) for command in commands if command) or "All steps are done.")
        return 0
    return workflow.run(whole, a.cores, workflow.options(a.profile, a.snakemake))


def _absolute(pairs: list[tuple[str, str]]) -> dict[str, str]:
    return {name: str(Path(folder).absolute()) for name, folder in pairs}


def _experiments() -> str:
    """A table of all experiments: name, model, data, published numbers."""
    from samplernn_theano.reproduction.experiments import read_experiments, read_listening_tests
    from samplernn_theano.reproduction.published import read_numbers
    from samplernn_theano.utils.text import format_table

    numbers = read_numbers()
    rows = [["experiment", "model", "data", "published"]]
    for experiment in read_experiments().values():
        shown = [
            f"{number.split} {number.value:g}" if number.split else f"{number.value:g} {number.unit}"
            for number in numbers
            if number.experiment == experiment.name
        ]
        rows.append([experiment.name, experiment.title, experiment.data, ", ".join(shown)])
    for test in read_listening_tests().values():
        rows.append([test.name, test.title, "", f"{len(test.systems)} systems"])
    return "\n".join(format_table(rows))
