"""The commands that reproduce the paper's tables and figures: `reproduce`, `retention` and `figure`."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.options import MODEL, Parser, add, add_backend, add_command, add_set, figure_file
from samplernn_theano.config.argument_types import count, positive, positive_int, seed
from samplernn_theano.errors import DataError, OutputError, ReproductionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samplernn_theano.reproduction.plan import Workflow


def add_reproduce(commands: Any) -> None:
    """Add the command `reproduce`."""
    parser = add_command(
        commands,
        "reproduce",
        lambda a: _reproduce(parser, a),
        "reproduce the paper's tables, one experiment or many",
        description="Train, evaluate and sample the models of the paper's experiments, and write a report. "
        "Only missing steps are run; run the same command again to resume.",
    )
    schedule, output, devices = parser.groups["schedule"], parser.groups["output"], parser.groups["devices"]
    text = (
        "such as table1/music/three_tier, table1/music, table3; all: those whose data and packages are here "
        "or can be downloaded; see --list"
    )
    add(parser, "experiments", text, metavar="EXPERIMENT", nargs="*")
    add(output, "--list", "list the experiments and the published numbers", bool)
    add(schedule, "--scale", "smoke (seconds), laptop (minutes), study (hours) or paper (days)", str, "paper")
    add(output, "--out", "folder of all outputs (default: reproduction/SCALE)", Path)
    for name, metavar, text in (
        ("--data", "SET=FOLDER", "use this prepared data set"),
        ("--recordings", "SET=FOLDER", "make the data set from these recordings"),
        ("--about", "SET=TEXT", "description of the data for the report, if they are not the paper's"),
    ):
        parser.groups["data"].add_argument(
            name, metavar=metavar, type=_pair, action="append", default=[], help=text
        )
    add(schedule, "--seeds", "number of runs of each experiment", positive_int, 1)
    text = "in place of the scale's, whose other limits stay: the first that is reached ends a training"
    add(schedule, "--max-iters", f"iterations of each training, {text}", positive_int, metavar="N")
    add(schedule, "--max-epochs", "epochs of each training, likewise", positive_int, metavar="N")
    add(schedule, "--max-minutes", "minutes of each training, likewise", positive, metavar="M")
    add(devices, "--cores", "maximum number of cores (default: all)", positive_int)
    add(output, "--dry-run", "only print the commands of the missing steps", bool)
    add(output, "--report", "only write the report on the results in --out", bool)
    text = "score the models that come with the package on their test data, and compare with their cards"
    add(
        output,
        "--verify",
        f"{text} (minutes; --out holds their sets, demo and speech: made there if missing)",
        bool,
    )
    add(devices, "--profile", "profile of Snakemake for a cluster: slurm (included), or a folder of your own")
    text = "more options of Snakemake, such as --snakemake='--jobs 8'"
    devices.add_argument("--snakemake", metavar="OPTIONS", default="", help=text)


def _pair(argument: str) -> tuple[str, str]:
    from samplernn_theano.reproduction.experiments import SETS

    name, _, value = argument.partition("=")
    if name not in SETS or not value:
        known = ", ".join(SETS)
        raise argparse.ArgumentTypeError(f"{argument!r} is not SET=..., with one of the sets {known}")
    return name, value


def _reproduce(parser: Parser, a: argparse.Namespace) -> int:
    from samplernn_theano.reproduction import plan, scales
    from samplernn_theano.reproduction.experiments import (
        read_experiments,
        read_listening_tests,
        select_experiments,
    )

    if a.verify:
        from samplernn_theano.reproduction import verify_pretrained

        _check_alone(parser, a)
        return verify_pretrained.run(a.out or Path("reproduction") / "verify")
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
        max_iters=a.max_iters,
        max_epochs=a.max_epochs,
        max_minutes=a.max_minutes,
    )
    plan.check_use(requested)
    named = select_experiments([name for name in a.experiments if name.strip("/") != "all"], known)
    whole, left_out = _available(requested, named)
    plan.check_data(whole)
    if a.dry_run:
        print("".join(f"# {line}\n" for line in [*left_out, *plan.later_rates(whole)]), end="")
        commands = [plan.command(whole, *step) for step in plan.missing(whole)]
        print("\n".join(shlex.join(command) for command in commands if command) or "All steps are done.")
        return 0
    options = workflow.options(a.profile, a.snakemake)
    print("".join(f"{line}\n" for line in left_out), end="", flush=True)
    return workflow.run(whole, a.cores, options)


VERIFY = ("verify", "out")
"""Arguments of `reproduce --verify`."""


def _check_alone(parser: Parser, a: argparse.Namespace) -> None:
    """Raise ReproductionError if there are arguments that --verify does not have."""
    defaults = vars(parser.parse_args([]))
    if given := [name for name in defaults if getattr(a, name) != defaults[name] and name not in VERIFY]:
        name = "EXPERIMENT" if given[0] == "experiments" else f"--{given[0].replace('_', '-')}"
        raise ReproductionError(
            f"--verify takes no {name}: it scores all models that come with the package. Its sets are the "
            "folders demo and speech in the folder --out; put your own there, or they are made."
        )


def _available(requested: "Workflow", named: Sequence[str]) -> tuple["Workflow", list[str]]:
    """A workflow of those experiments that can be had, or are `named`; and lines on those left out."""
    from samplernn_theano.reproduction import plan, workflow

    whole = workflow.join(requested)
    groups: dict[str, list[str]] = {}  # names by reason
    for name, reason in plan.unavailable(whole).items():
        if name not in named:
            groups.setdefault(reason, []).append(name)
    left_out = set(chain.from_iterable(groups.values()))
    lines = [f"Left out: {', '.join(names)}. {reason}" for reason, names in groups.items()]
    rest = {name: seeds for name, seeds in requested.experiments.items() if name not in left_out}
    if not rest:
        raise ReproductionError(f"No experiment can be had here. {' '.join(groups)}")
    return (workflow.join(replace(requested, experiments=rest)) if left_out else whole), lines


def _absolute(pairs: list[tuple[str, str]]) -> dict[str, str]:
    return {name: str(Path(folder).absolute()) for name, folder in pairs}


def _experiments() -> str:
    """A table of all experiments: name, model, data, published numbers."""
    from samplernn_theano.reproduction.experiments import (
        OURS,
        OURS_MEANS,
        read_experiments,
        read_listening_tests,
    )
    from samplernn_theano.reproduction.published import doubts, read_numbers
    from samplernn_theano.utils.text import format_table

    numbers = read_numbers()
    rows = [["experiment", "model", "data", "published", "basis"]]
    for experiment in read_experiments().values():
        shown = [
            (f"{number.split} {number.value:g}" if number.split else f"{number.value:g} {number.unit}")
            + f" {number.mark}{experiment.mark}".rstrip()
            for number in numbers
            if number.experiment == experiment.name
        ]
        row = [experiment.name, experiment.title, experiment.data, ", ".join(shown), experiment.basis]
        rows.append(row)
    for test in read_listening_tests().values():
        rows.append([test.name, test.title, "", f"{len(test.systems)} systems", ""])
    return "\n".join([*format_table(rows), f"{OURS} {OURS_MEANS}", doubts(numbers)])


def add_retention(commands: Any) -> None:
    """Add the command `retention`."""
    text = "measure if a model keeps the speaker over a second of silence"
    parser = add_command(commands, "retention", _retention, text)
    data, sampling, output = parser.groups["data"], parser.groups["sampling"], parser.groups["output"]
    add(parser, "checkpoint", MODEL, Path)
    text = "data set of two speakers (samplernn prepare --speakers), ideally the training data"
    add(data, "--data", text, Path, required=True)
    add(sampling, "--clips", "sequences of 5 s to generate", positive_int, 100)
    add(sampling, "--seed", "seed of the sampling", seed, 0)
    add(sampling, "--temperature", "sampling temperature", positive, 1.0)
    add(output, "--out", "folder for retention.json, a table of all sequences and a figure", Path)
    add(output, "--sounds", "number of sequences to write to --out as wav", count, 0)
    add_set(parser, "a hyper-parameter that is not stored in the original's files, such as q_type=mu-law")
    add_backend(parser)


def _retention(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.evaluation import score_report
    from samplernn_theano.reproduction import retention

    if a.sounds and a.out is None:
        raise OutputError("--sounds needs a folder to write to; give --out FOLDER.")
    model = load.read(a.checkpoint, a.set)
    print(score_report.describe_model(model), flush=True)
    sampling = (a.clips, a.seed, a.temperature)
    result = retention.measure(
        model, a.data, *sampling, backend=a.backend, out=a.out, sounds=a.sounds, progress=True
    )
    print(retention.describe(result))
    if a.out:
        print(f"In {a.out}: retention.json, retention.csv, retention.png")
    return 0


def add_figure(commands: Any) -> None:
    """Add the command `figure`."""
    parser = commands.add_parser("figure", help="draw figure 2 of the paper: waveforms")
    figures = parser.add_subparsers(title="figures", metavar="FIGURE", required=True, parser_class=Parser)
    text = "figure 2: waveforms of data and of generated samples"
    waveforms = add_command(figures, "waveforms", _waveforms, text)
    text = (
        "name of a data set, a recording of it (or its folder: the first test clip), and a generated sound; "
        "may be repeated"
    )
    column = {"metavar": "NAME=DATA:SOUND", "action": "append", "required": True}
    add(waveforms, "--column", text, _column, **column)
    add(waveforms, "--out", "image file to write, .png, .pdf or .svg", figure_file, required=True)


def _waveforms(a: argparse.Namespace) -> int:
    from samplernn_theano.data import audio
    from samplernn_theano.reproduction import figures

    columns = {name: (_recording(data), audio.read_mono(sound)) for name, data, sound in a.column}
    figures.waveforms(a.out, columns)
    print(f"Wrote {a.out}")
    return 0


def _recording(path: Path) -> "NDArray[np.floating]":
    """Read an audio file, or the first clip of a data set's test split."""
    from samplernn_theano.data import audio, dataset

    if not path.is_dir():
        return audio.read_mono(path)
    test = dataset.load_split(path, "test")
    if not len(test):
        raise DataError(f"The test split of {path} has no clips; give a recording instead.")
    return test[0]


def _column(argument: str) -> tuple[str, Path, Path]:
    """Parse NAME=DATA:SOUND."""
    name, equals, files = argument.partition("=")
    data, colon, sound = files.partition(":")
    if not (name and equals and data and colon and sound) or ":" in sound:
        raise argparse.ArgumentTypeError(
            f"{argument!r} is not NAME=DATA:SOUND, such as music=data/music:out.wav (file names with a colon "
            "are not supported)"
        )
    return name, Path(data), Path(sound)
