"""The commands train and resume."""

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import OneLineParser, Parser, add, add_backend, add_command, add_set
from samplernn_theano.config import settings
from samplernn_theano.config.argument_types import count, duration, positive, positive_int, seed, weight
from samplernn_theano.config.flags import add_flags
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.config.schedule import (
    LIMITS,
    Schedule,
    original_learning_rate,
    original_schedule,
    stored_schedule,
    with_limits,
)
from samplernn_theano.config.settings import Options, RunSettings, stored_options
from samplernn_theano.errors import BackendError, DataError, HyperParameterError

# --- options ------------------------------------------------------------------------------------------------


def add_train(commands: Any) -> None:
    """Add the command train, with one subcommand for each family."""
    parser = commands.add_parser(
        "train",
        help="train a model on a data set",
        description="Train a model of a family. To repeat a run, give --config RUN/settings.json and --run "
        "in place of the family, and the flags that are to differ.",
    )
    families = parser.add_subparsers(title="families", metavar="FAMILY", required=True, parser_class=Parser)
    for name, family in FAMILIES.items():
        _add_train_family(families, name, family)


def _add_train_family(families: Any, name: str, family: type[HyperParameters]) -> None:
    parser = add_command(families, name, partial(_everywhere, _train), f"train a {name} model")
    parser.set_defaults(family=name)
    model, output = parser.groups["model"], parser.groups["output"]
    text = "folder with *_train.npy, *_valid.npy, *_test.npy; this or --config is required"
    add(parser.groups["data"], "--data", text, Path)
    add(output, "--run", "folder of the run (default: runs/EXP)", Path)
    text = "repeat the run with this settings.json: it has the defaults of all flags; give another --run"
    add(model, "--config", text, Path, metavar="FILE")
    add(output, "--exp", "name of the experiment (default: FAMILY-PRESET)")
    existing = output.add_mutually_exclusive_group()
    add(existing, "--overwrite", "replace an existing run", bool)
    add(existing, "--resume", "resume an existing run, as samplernn resume RUN does", bool)
    add(model, "--preset", f"preset of the hyper-parameters: {', '.join(PRESETS[name])} (default: best)")
    model.description = (
        "Hyper-parameters are named as in the original; their defaults are those of --preset best."
    )
    add_flags(model, family)
    _add_schedule(parser, family)
    add(parser.groups["schedule"], "--debug", "quick check: 60 iterations, an evaluation every 20", bool)
    text = "also write the files of the original, under its names (default of --run: results_.../TAG)"
    add(output, "--original-layout", text, bool)
    add(model, "--seed", "random seed of the initial parameters (default: 123)", seed)
    if family.independent_preds:
        text = "weight of the cost of the independent predictions (default: 0, as in the original)"
        add(model, "--ip-weight", text, weight)
    add_backend(parser, precision="highest", devices="1")
    _add_distributed(parser)


def add_resume(commands: Any) -> None:
    """Add the command resume."""
    parser = add_command(commands, "resume", partial(_everywhere, _resume), "resume an interrupted run")
    add(parser, "run", "folder of the run, or results folder of the original", Path)
    add(parser.groups["data"], "--data", "folder of the data set, if it was moved", Path)
    _add_schedule(parser)
    add_set(parser, "a hyper-parameter of a run of the original that its files do not contain")
    add_backend(parser, precision="as before", devices="as before")
    _add_distributed(parser)


def _add_schedule(parser: Any, family: type[HyperParameters] | None = None) -> None:
    """Add the options of the schedule; without `family` those of a resumed run, without defaults."""
    schedule, sampling, output = parser.groups["schedule"], parser.groups["sampling"], parser.groups["output"]
    original = original_schedule(family) if family else Schedule()

    def option(
        name: str, kind: Any, metavar: str | None, text: str, default: object = None, group: Any = schedule
    ) -> None:
        told = f" (default: {default})" if family and default is not None else ""
        add(group, name, text + told, kind, metavar=metavar)

    option("--learning-rate", positive, None, "learning rate of Adam", original.learning_rate)
    text = "learning rate after the first --later-from iterations, for the rest of the run"
    option("--later-rate", positive, None, text)
    option("--later-from", positive_int, "N", "number of iterations before --later-rate")
    option("--max-iters", positive_int, "N", "stop after N iterations")
    option("--max-epochs", positive_int, "N", "stop after N epochs")
    hours = f" (default, if no limit is given: {(original.max_minutes or 0) / 60:.0f} hours)"
    option("--max-minutes", positive, "M", f"stop after M minutes of training{hours if family else ''}")
    option("--patience", positive_int, "N", "early stopping: stop after N evaluations without improvement")
    text = "stop this process with a checkpoint after TIME (23.5h, 90m, 23:30:00), compilation included; "
    option("--max-time", duration, "TIME", f"{text}exit code 124")
    option("--monitor-iters", positive_int, "N", "evaluate every N iterations", 10000)
    option("--monitor-minutes", positive, "M", "evaluate every M minutes of training", 90)
    option("--save-minutes", positive, "M", "save a checkpoint every M minutes of training", 10)
    text = "keep the checkpoints of the N latest and the N best evaluations"
    option("--keep", positive_int, "N", text, 1, output)
    text = (
        "sequences to generate at each evaluation, by --backend if that is given, else by the fastest sampler"
    )
    option("--n_seqs", count, None, text, f"{original.n_seqs}; 0: none", sampling)
    option("--sample-seconds", positive, None, "length of each sequence", 5, sampling)
    text = "also write costs, learning curve, samples and spectrograms for TensorBoard"
    output.add_argument("--tensorboard", action=argparse.BooleanOptionalAction, help=text)


def _add_distributed(parser: Any) -> None:
    text = (
        "distributed training: be one of the processes started by srun, by mpirun, or with "
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; uses all devices"
    )
    add(parser.groups["devices"], "--distributed", text, bool)


def with_family(argv: list[str]) -> list[str]:
    """The arguments of the program; of `train --config FILE` without a family, with that of the file."""
    if argv[:1] != ["train"]:
        return argv
    parser = OneLineParser(prog="samplernn train", add_help=False)
    add(parser, "--config", "", Path)
    config = parser.parse_known_args(argv[1:])[0].config
    if config is None:
        return argv
    family, first = settings.read_json(config)["family"], argv[1]
    if first in FAMILIES and first != family:
        raise HyperParameterError(
            f"{config} is of a {family} model, not of {first}; leave the family out, or --config."
        )
    return ["train", family, *argv[1:]] if first.startswith("-") else argv


# --- the commands -------------------------------------------------------------------------------------------

DEBUG = {"max_iters": 60, "monitor_iters": 20, "n_seqs": 2, "sample_seconds": 0.25}


def _everywhere(work: Callable[[argparse.Namespace], int], a: argparse.Namespace) -> int:
    """Do the work of a command, with --distributed in several processes."""
    if not a.distributed:
        return work(a)
    from samplernn_theano.backends.compile import check_backend, default_backend
    from samplernn_theano.training import distributed

    check_backend(backend := a.backend or default_backend())
    if backend != "jax" or a.n_devices:
        raise BackendError(
            "--distributed needs --backend jax and takes all devices of all processes; leave "
            f"{'--devices' if a.n_devices else '--backend ' + backend} out."
        )

    def with_all_devices() -> int:
        import jax

        a.n_devices = jax.device_count()
        return work(a)

    return distributed.run_distributed(with_all_devices)


def _train(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.original import results_folder
    from samplernn_theano.training import distributed
    from samplernn_theano.training.run import train

    base, a.sampling_backend = _base(a), a.backend
    hp = replace(base.hp, **_given(a, FAMILIES[a.family]))
    schedule = replace(base.schedule, **with_limits((DEBUG if a.debug else {}) | _given(a, Schedule)))
    options = replace(base.options, **_given(a, Options))
    exp = a.exp or base.exp or (a.run.name if a.config else f"{a.family}-{a.preset or 'best'}")
    original_layout = a.original_layout or base.exp is not None
    folder = a.run or _default_folder(a, base.data, hp, exp, schedule)
    found = run_folder.Run(folder).last.exists() or results_folder.has_log(folder)
    (resumable,), _ = distributed.broadcast(found)  # process 0 decides for all
    if a.resume and resumable:
        requested = {"family": hp.family, **asdict(hp), "seed": options.seed, "ip_weight": options.ip_weight}
        requested["learning_rate"] = schedule.learning_rate
        before = _check_same_model(
            folder, a, requested | ({"original_layout": True} if original_layout else {})
        )
        return _resume_run(folder, a, before=before)
    code = train(
        hp,
        base.data,
        folder,
        schedule,
        options,
        overwrite=a.overwrite,
        settings={"command": shlex.join(["samplernn", *a.command_line])},
        exp=exp if original_layout else None,
        max_seconds=a.max_time,
        catch_signals=True,
        tune_malloc=True,
    )
    return _report(folder, code)


def _base(a: argparse.Namespace) -> RunSettings:
    """The settings of a new run without its flags: those of --config, or a preset and the original's."""
    if not a.config:
        if not a.data:
            raise DataError("Name the folder of a data set with --data; samplernn prepare makes one.")
        hp = preset(a.family, a.preset or "best", {})
        return RunSettings(hp, original_schedule(type(hp)), Options(), a.data)
    if a.preset:
        raise HyperParameterError("--config has all hyper-parameters; leave --preset out.")
    if not a.run:
        raise HyperParameterError("--config repeats a run in another folder; name it with --run.")
    from samplernn_theano.training.run import settings_to_repeat

    return settings_to_repeat(a.config, a.data)


def _default_folder(
    a: argparse.Namespace, data: Path, hp: HyperParameters, exp: str, schedule: Schedule
) -> Path:
    if not a.original_layout:
        return Path("runs") / exp
    from samplernn_theano.data import dataset
    from samplernn_theano.original import layout

    which_set = layout.which_set(dataset.split_path(data, "train").name)
    rate = schedule.learning_rate or original_learning_rate(type(hp))
    return layout.results_path("", hp, which_set, exp, rate)


def _check_same_model(folder: Path, a: argparse.Namespace, requested: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run to resume; HyperParameterError if what is requested contradicts them."""
    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.checkpoints.from_original import last_checkpoint

    old, is_original = last_checkpoint(run_folder.Run(folder))
    before = {"family": old.hp.family, **asdict(old.hp), **asdict(stored_options(old.settings))}
    before |= stored_schedule(old.settings)
    before["original_layout"] = is_original or old.settings.get("original_layout")
    for name, value in requested.items():
        # Statistics of the clips need not be given again.
        if before.get(name) != value and not (name in ("mean", "std") and getattr(a, name) is None):
            raise HyperParameterError(
                f"{folder} holds a run with {name} {before.get(name)}, not {value}; resume it with "
                f"samplernn resume {folder}, or choose another folder with --run."
            )
    return before


def _given(a: argparse.Namespace, kind: Any) -> dict[str, Any]:
    """The fields of a dataclass that are given as flags."""
    given = {own.name: getattr(a, own.name, None) for own in fields(kind)}
    return {name: value for name, value in given.items() if value is not None}


def _resume(a: argparse.Namespace) -> int:
    return _resume_run(a.run, a, a.set)


def _resume_run(
    folder: Path,
    a: argparse.Namespace,
    hyperparameters: Sequence[str] = (),
    before: Mapping[str, Any] | None = None,
) -> int:
    """Resume a run; limits that it had `before` are no change, and do not continue it after its end."""
    from samplernn_theano.training.run import resume

    names = ("backend", "precision", "n_devices", "tensorboard")
    of_options = {name: value for name, value in _given(a, Options).items() if name in names}
    of_schedule = with_limits(_given(a, Schedule))
    if before and all(of_schedule.get(name) == before.get(name) for name in LIMITS):
        of_schedule = {name: value for name, value in of_schedule.items() if name not in LIMITS}
    code = resume(
        folder,
        of_schedule | of_options,
        a.data,
        hyperparameters=hyperparameters,
        max_seconds=a.max_time,
        catch_signals=True,
        tune_malloc=True,
    )
    return _report(folder, code)


def _report(folder: Path, code: int) -> int:
    print(f"Run: {folder}. Learning curve: {folder / 'train_log.png'}")
    return code
