"""The commands train and resume."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, add_backend, add_devices, add_precision, add_set
from samplernn_theano.config.argument_types import count, duration, positive, positive_int, seed, weight
from samplernn_theano.config.flags import add_flags
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.config.schedule import Schedule, original_schedule
from samplernn_theano.errors import BackendError, HyperParameterError

# --- train --------------------------------------------------------------------------------------------------


def add_train(commands: Any) -> None:
    """Add the command train, with one subcommand for each family."""
    parser = commands.add_parser("train", help="train a model on a data set")
    families = parser.add_subparsers(title="families", metavar="FAMILY", required=True, parser_class=Parser)
    for name, family in FAMILIES.items():
        _add_train_family(families, name, family)


def _add_train_family(families: Any, name: str, family: type[HyperParameters]) -> None:
    parser = families.add_parser(name, help=f"train a {name} model")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with *_train.npy, *_valid.npy, *_test.npy"
    )
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/EXP)")
    parser.add_argument("--exp", help="name of the experiment (default: FAMILY-PRESET)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace an existing run")
    existing.add_argument(
        "--resume", action="store_true", help="resume an existing run, as samplernn resume RUN does"
    )
    parser.add_argument(
        "--preset",
        default="best",
        help=f"preset of the hyper-parameters: {', '.join(PRESETS[name])} (default: %(default)s)",
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

    parser.add_argument(
        "--seed", type=seed, default=123, help="random seed of the initial parameters (default: %(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        "--learning_rate",
        type=positive,
        default=family.learning_rate,
        help="learning rate of Adam (default: %(default)s)",
    )
    if family.independent_preds:
        parser.add_argument(
            "--ip-weight",
            type=weight,
            default=0.0,
            help="weight of the cost of the independent predictions (default: 0, as in the original)",
        )
    parser.add_argument(
        "--form",
        choices=("fast", "reference"),
        default="fast",
        help="form of the model's graph: optimised, or as in the paper; both compute the same function",
    )
    add_backend(parser)
    add_precision(parser)
    add_devices(parser)
    _add_distributed(parser)
    parser.set_defaults(command=_train, family=name)


def _add_schedule(parser: Any, family: type[HyperParameters] | None = None) -> None:
    """Add the options of the schedule; without `family` those of a resumed run, without defaults."""
    group = parser.add_argument_group("limits, evaluations and checkpoints")
    hours = f"{family.max_minutes / 60:.0f} hours" if family else ""
    unless = f" (default, if no limit is given: {hours})" if family else ""

    def default(value: object) -> str:
        return f" (default: {value})" if family else ""

    group.add_argument("--max-iters", type=positive_int, metavar="N", help="stop after N iterations")
    group.add_argument("--max-epochs", type=positive_int, metavar="N", help="stop after N epochs")
    group.add_argument(
        "--max-minutes", type=positive, metavar="M", help=f"stop after M minutes of training{unless}"
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
    n_seqs = f"{family.n_seqs}; 0: none" if family else ""
    group.add_argument(
        "--n_seqs", type=count, help=f"sequences to generate at each evaluation{default(n_seqs)}"
    )
    group.add_argument("--sample-seconds", type=positive, help=f"length of each sequence{default(5)}")


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
    if backend != "jax" or a.devices:
        raise BackendError(
            "--distributed needs --backend jax and takes all devices of all processes; leave "
            f"{'--devices' if a.devices else '--backend ' + backend} out."
        )

    def with_all_devices() -> int:
        import jax

        a.devices = jax.device_count()
        return work(a)

    return distributed.run_distributed(with_all_devices)


DEBUG = {"max_iters": 60, "monitor_iters": 20, "n_seqs": 2, "sample_seconds": 0.25}


def _train(a: argparse.Namespace) -> int:
    return _distributed(a, _train_locally)


def _train_locally(a: argparse.Namespace) -> int:
    from dataclasses import fields

    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.original import results_folder
    from samplernn_theano.training import distributed
    from samplernn_theano.training.run import train

    given = {f.name: getattr(a, f.name) for f in fields(FAMILIES[a.family]) if getattr(a, f.name) is not None}
    hp = preset(a.family, a.preset, given)
    exp = a.exp or f"{a.family}-{a.preset}"
    folder = _run_folder(a, hp, exp)
    found = run_folder.Run(folder).last.exists() or results_folder.has_log(folder)
    (resumable,), _ = distributed.broadcast(found)  # process 0 decides for all
    if a.resume and resumable:
        _check_same_model(folder, hp, given, a)
        return _resume_run(folder, a)
    code = train(
        hp,
        a.data,
        folder,
        _schedule(a, hp),
        seed=a.seed,
        learning_rate=a.learning_rate,
        backend=a.backend,
        form=a.form,
        ip_weight=getattr(a, "ip_weight", 0.0),
        precision=a.precision or "highest",
        n_devices=a.devices or 1,
        overwrite=a.overwrite,
        settings={"command": shlex.join(["samplernn", *a.command_line])},
        max_seconds=a.max_time,
        exp=exp if a.original_layout else None,
        catch_signals=True,
        tune_malloc=True,
    )
    return _report(folder, code)


def _run_folder(a: argparse.Namespace, hp: HyperParameters, exp: str) -> Path:
    from samplernn_theano.data import dataset
    from samplernn_theano.original import layout

    if a.original_layout and not a.run:
        which_set = layout.which_set(dataset.split_path(a.data, "train").name)
        return layout.results_path("", hp, which_set, exp, a.learning_rate)
    return a.run or Path("runs") / exp


def _schedule(a: argparse.Namespace, hp: HyperParameters) -> Schedule:
    """Schedule of a new run: the original's, without its time limit if another limit is given."""
    from dataclasses import replace

    changes = (DEBUG if a.debug else {}) | _schedule_arguments(a)
    schedule = original_schedule(type(hp))
    if changes.keys() & {"max_iters", "max_epochs"}:
        schedule = replace(schedule, max_minutes=None)
    return replace(schedule, **changes)


def _check_same_model(
    folder: Path, hp: HyperParameters, given: dict[str, Any], a: argparse.Namespace
) -> None:
    """Raise HyperParameterError if the arguments contradict the run that is to be resumed."""
    from dataclasses import asdict

    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.checkpoints.from_original import last_checkpoint

    old, is_original = last_checkpoint(run_folder.Run(folder))
    defaults = {"seed": 123, "form": "fast", "ip_weight": 0.0}  # of a run of the original
    before = {"family": old.hp.family, **asdict(old.hp), **defaults, **old.settings}
    names = [name for name in (*defaults, "learning_rate") if hasattr(a, name)]
    requested = {"family": hp.family, **asdict(hp)} | {name: getattr(a, name) for name in names}
    if a.original_layout:
        requested["original_layout"] = True
        before["original_layout"] = is_original or old.settings.get("original_layout")
    for name, value in requested.items():
        # Statistics of the clips need not be given again.
        if before[name] != value and not (name in ("mean", "std") and name not in given):
            raise HyperParameterError(
                f"{folder} holds a run with {name} {before.get(name)}, not {value}; resume it with "
                f"samplernn resume {folder}, or choose another folder with --run."
            )


def _schedule_arguments(a: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import fields

    given = {f.name: getattr(a, f.name) for f in fields(Schedule)}
    return {name: value for name, value in given.items() if value is not None}


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

    code = resume(
        folder,
        _changes(a),
        a.data,
        backend=a.backend,
        max_seconds=a.max_time,
        hyperparameters=hyperparameters,
        precision=a.precision,
        n_devices=a.devices,
        catch_signals=True,
        tune_malloc=True,
    )
    return _report(folder, code)


def _changes(a: argparse.Namespace) -> dict[str, Any]:
    """Changes to the schedule of a resumed run: a given limit replaces all limits."""
    limits = {"max_iters", "max_epochs", "max_minutes"}
    given = _schedule_arguments(a)
    return (dict.fromkeys(limits) if given.keys() & limits else {}) | given
