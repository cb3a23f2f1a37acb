"""The commands train and resume."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, add_backend, add_devices, add_precision, add_set
from samplernn_theano.config import settings
from samplernn_theano.config.argument_types import count, duration, positive, positive_int, seed, weight
from samplernn_theano.config.flags import add_flags
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.config.schedule import (
    Schedule,
    original_learning_rate,
    original_schedule,
    stored_schedule,
)
from samplernn_theano.config.settings import Options, RunSettings, stored_options
from samplernn_theano.errors import BackendError, DataError, HyperParameterError

# --- train --------------------------------------------------------------------------------------------------


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
    parser = families.add_parser(name, help=f"train a {name} model")
    parser.add_argument("--data", type=Path, help="folder with *_train.npy, *_valid.npy, *_test.npy")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/EXP)")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="repeat the run with this settings.json: it has the defaults of all flags; give another --run",
    )
    parser.add_argument("--exp", help="name of the experiment (default: FAMILY-PRESET)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace an existing run")
    existing.add_argument(
        "--resume", action="store_true", help="resume an existing run, as samplernn resume RUN does"
    )
    parser.add_argument(
        "--preset",
        help=f"preset of the hyper-parameters: {', '.join(PRESETS[name])} (default: best)",
    )
    add_flags(
        parser.add_argument_group("hyper-parameters, named as in the original (default: the preset's)"),
        family,
    )

    _add_schedule(parser, family)
    parser.add_argument(
        "--debug", action="store_true", help="quick check: 60 iterations, an evaluation every 20"
    )
    parser.add_argument(
        "--original-layout",
        action="store_true",
        help="also write the files of the original, under its names (default of --run: results_.../TAG)",
    )

    parser.add_argument("--seed", type=seed, help="random seed of the initial parameters (default: 123)")
    if family.independent_preds:
        parser.add_argument(
            "--ip-weight",
            type=weight,
            help="weight of the cost of the independent predictions (default: 0, as in the original)",
        )
    add_backend(parser)
    add_precision(parser)
    add_devices(parser)
    _add_distributed(parser)
    parser.set_defaults(command=_train, family=name)


def _add_schedule(parser: Any, family: type[HyperParameters] | None = None) -> None:
    """Add the options of the schedule; without `family` those of a resumed run, without defaults."""
    group = parser.add_argument_group("learning rate, limits, evaluations and checkpoints")
    original = original_schedule(family) if family else Schedule()
    unless = f" (default, if no limit is given: {(original.max_minutes or 0) / 60:.0f} hours)"

    def default(value: object) -> str:
        return f" (default: {value})" if family else ""

    group.add_argument(
        "--learning-rate",
        "--learning_rate",
        type=positive,
        help=f"learning rate of Adam{default(original.learning_rate)}",
    )
    group.add_argument("--max-iters", type=positive_int, metavar="N", help="stop after N iterations")
    group.add_argument("--max-epochs", type=positive_int, metavar="N", help="stop after N epochs")
    group.add_argument(
        "--max-minutes",
        type=positive,
        metavar="M",
        help=f"stop after M minutes of training{unless if family else ''}",
    )
    group.add_argument(
        "--patience",
        type=positive_int,
        metavar="N",
        help="early stopping: stop after N evaluations without improvement",
    )
    group.add_argument(
        "--max-time",
        type=duration,
        metavar="TIME",
        help="stop this process with a checkpoint after TIME (23.5h, 90m, 23:30:00), compilation included; "
        "exit code 124",
    )
    group.add_argument(
        "--monitor-iters",
        type=positive_int,
        metavar="N",
        help=f"evaluate every N iterations{default(10000)}",
    )
    group.add_argument(
        "--monitor-minutes",
        type=positive,
        metavar="M",
        help=f"evaluate every M minutes of training{default(90)}",
    )
    group.add_argument(
        "--save-minutes",
        type=positive,
        metavar="M",
        help=f"save a checkpoint every M minutes of training{default(10)}",
    )
    group.add_argument(
        "--keep",
        type=positive_int,
        metavar="N",
        help=f"keep the checkpoints of the N latest and the N best evaluations{default(1)}",
    )
    n_seqs = default(f"{original.n_seqs}; 0: none")
    group.add_argument(
        "--n_seqs",
        type=count,
        help=f"sequences to generate at each evaluation{n_seqs}, by --backend if that is given, else by the "
        "fastest sampler",
    )
    group.add_argument("--sample-seconds", type=positive, help=f"length of each sequence{default(5)}")
    group.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        help="also write costs, learning curve, samples and spectrograms for TensorBoard",
    )


def _add_distributed(parser: Any) -> None:
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="distributed training: be one of the processes started by srun, by mpirun, or with "
        "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; uses all devices",
    )


def _distributed(a: argparse.Namespace, work: Callable[[argparse.Namespace], int]) -> int:
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


DEBUG = {"max_iters": 60, "monitor_iters": 20, "n_seqs": 2, "sample_seconds": 0.25}


def _train(a: argparse.Namespace) -> int:
    return _distributed(a, _train_locally)


def with_family(argv: list[str]) -> list[str]:
    """The arguments of the program; of `train --config FILE` without a family, with that of the file.

    Raises
    ------
    HyperParameterError
        If the file is not one of settings, or of another family than the one that is given.
    """
    if argv[:1] != ["train"]:
        return argv
    parser = Parser(prog="samplernn train", add_help=False)
    parser.add_argument("--config", type=Path)
    config = argparse.ArgumentParser.parse_known_args(parser, argv[1:])[0].config  # with flags it lacks
    if config is None:
        return argv
    family, first = settings.read_json(config)["family"], argv[1]
    if first in FAMILIES and first != family:
        raise HyperParameterError(
            f"{config} is of a {family} model, not of {first}; leave the family out, or --config."
        )
    return ["train", family, *argv[1:]] if first.startswith("-") else argv


def _train_locally(a: argparse.Namespace) -> int:
    from dataclasses import replace

    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.original import results_folder
    from samplernn_theano.training import distributed
    from samplernn_theano.training.run import train

    base, a.sampling_backend = _base(a), a.backend
    hp = replace(base.hp, **_given(a, FAMILIES[a.family]))
    schedule = replace(base.schedule, **_with_limits((DEBUG if a.debug else {}) | _given(a, Schedule)))
    options = replace(base.options, **_given(a, Options))
    exp = a.exp or base.exp or (a.run.name if a.config else f"{a.family}-{a.preset or 'best'}")
    original_layout = a.original_layout or base.exp is not None
    folder = a.run or _default_folder(a, base.data, hp, exp, schedule)
    found = run_folder.Run(folder).last.exists() or results_folder.has_log(folder)
    (resumable,), _ = distributed.broadcast(found)  # process 0 decides for all
    if a.resume and resumable:
        _check_same_model(folder, a, hp, schedule, options, original_layout)
        return _resume_run(folder, a)
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
    from samplernn_theano.training.training_data import settings_to_repeat

    return settings_to_repeat(a.config, a.data)


def _default_folder(
    a: argparse.Namespace, data: Path, hp: HyperParameters, exp: str, schedule: Schedule
) -> Path:
    from samplernn_theano.data import dataset
    from samplernn_theano.original import layout

    if not a.original_layout:
        return Path("runs") / exp
    which_set = layout.which_set(dataset.split_path(data, "train").name)
    rate = schedule.learning_rate or original_learning_rate(type(hp))
    return layout.results_path("", hp, which_set, exp, rate)


def _check_same_model(
    folder: Path,
    a: argparse.Namespace,
    hp: HyperParameters,
    schedule: Schedule,
    options: Options,
    original_layout: bool,
) -> None:
    """Raise HyperParameterError if the arguments contradict the run that is to be resumed."""
    from dataclasses import asdict

    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.checkpoints.from_original import last_checkpoint

    old, is_original = last_checkpoint(run_folder.Run(folder))
    stored = asdict(stored_options(old.settings)) | stored_schedule(old.settings)
    before = {"family": old.hp.family, **asdict(old.hp), **stored}
    of_training = asdict(options) | {"learning_rate": schedule.learning_rate}
    names = ("seed", "ip_weight", "learning_rate")
    requested = {"family": hp.family, **asdict(hp)} | {name: of_training[name] for name in names}
    if original_layout:
        requested["original_layout"] = True
        before["original_layout"] = is_original or old.settings.get("original_layout")
    for name, value in requested.items():
        # Statistics of the clips need not be given again.
        if before.get(name) != value and not (name in ("mean", "std") and getattr(a, name) is None):
            raise HyperParameterError(
                f"{folder} holds a run with {name} {before.get(name)}, not {value}; resume it with "
                f"samplernn resume {folder}, or choose another folder with --run."
            )


def _given(a: argparse.Namespace, kind: Any) -> dict[str, Any]:
    """The fields of a dataclass that are given as flags."""
    from dataclasses import fields

    given = {own.name: getattr(a, own.name, None) for own in fields(kind)}
    return {name: value for name, value in given.items() if value is not None}


def _with_limits(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes to a schedule, in which a limit replaces all limits."""
    limits = {"max_iters", "max_epochs", "max_minutes"}
    return (dict.fromkeys(limits) if changes.keys() & limits else {}) | changes


def _report(folder: Path, code: int) -> int:
    print(f"Run: {folder}. Learning curve: {folder / 'train_log.png'}")
    return code


# --- resume -------------------------------------------------------------------------------------------------


def add_resume(commands: Any) -> None:
    """Add the command resume."""
    parser = commands.add_parser("resume", help="resume an interrupted run")
    parser.add_argument("run", type=Path, help="folder of the run, or results folder of the original")
    parser.add_argument("--data", type=Path, help="folder of the data set, if it was moved")
    _add_schedule(parser)
    add_set(parser, "a hyper-parameter of a run of the original that its files do not contain")
    add_backend(parser)
    add_precision(parser, "as before")
    add_devices(parser, "as before")
    _add_distributed(parser)
    parser.set_defaults(command=_resume)


def _resume(a: argparse.Namespace) -> int:
    return _distributed(a, _resume_locally)


def _resume_locally(a: argparse.Namespace) -> int:
    return _resume_run(a.run, a, a.set)


def _resume_run(folder: Path, a: argparse.Namespace, hyperparameters: Sequence[str] = ()) -> int:
    from samplernn_theano.training.run import resume

    names = ("backend", "precision", "n_devices", "tensorboard")
    of_options = {name: value for name, value in _given(a, Options).items() if name in names}
    code = resume(
        folder,
        _with_limits(_given(a, Schedule)) | of_options,
        a.data,
        hyperparameters=hyperparameters,
        max_seconds=a.max_time,
        catch_signals=True,
        tune_malloc=True,
    )
    return _report(folder, code)
