"""The commands that train: train, resume."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, add_backend, add_devices, add_precision, add_set
from samplernn_theano.config.argument_types import count, duration, positive, positive_int, seed, weight
from samplernn_theano.config.flags import add_flags
from samplernn_theano.config.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.config.presets import PRESETS, preset
from samplernn_theano.errors import BackendError, HyperParameterError

# --- train --------------------------------------------------------------------------------------------------


def add_train(commands: Any) -> None:
    """Give `commands` the command train, with one command for each family."""
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
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    there.add_argument(
        "--resume", action="store_true", help="go on with a run that is there (samplernn resume RUN)"
    )
    parser.add_argument(
        "--preset",
        default="best",
        help=f"start from these values: {', '.join(PRESETS[name])} (default: %(default)s)",
    )
    add_flags(
        parser.add_argument_group("hyper-parameters, named as in the original (default: the preset's)"),
        family,
    )

    _add_schedule(parser, family)
    parser.add_argument(
        "--debug", action="store_true", help="60 iterations, a look every 20: does it work at all?"
    )
    parser.add_argument(
        "--original-layout",
        action="store_true",
        help="also write what the original would, under its names (default of --run: results_.../TAG)",
    )

    parser.add_argument(
        "--seed", type=seed, default=123, help="of the initial parameters (default: %(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        "--learning_rate",
        type=positive,
        default=family.learning_rate,
        help="of Adam (default: %(default)s)",
    )
    if family.independent_preds:
        parser.add_argument(
            "--ip-weight",
            type=weight,
            default=0.0,
            help="add so much of the independent predictions' cost (default: none, as the original trains)",
        )
    parser.add_argument(
        "--form",
        choices=("fast", "reference"),
        default="fast",
        help="of the recurrent layers: the same function",
    )
    add_backend(parser)
    add_precision(parser)
    add_devices(parser)
    _add_distributed(parser)
    parser.set_defaults(command=_train, family=name)


def _add_schedule(parser: Any, family: type[HyperParameters] | None = None) -> None:
    """When to stop, look and save; without `family` for a run that goes on."""
    group = parser.add_argument_group("when to stop, look and save")
    hours = f"{family.max_minutes / 60:.0f} hours" if family else ""
    unless = f" (default, if no limit is given: {hours})" if family else ""

    def default(value: object) -> str:
        return f" (default: {value})" if family else ""

    group.add_argument("--max-iters", type=positive_int, help="stop after so many iterations")
    group.add_argument("--max-epochs", type=positive_int, help="stop after so many epochs")
    group.add_argument("--max-minutes", type=positive, help=f"stop after so much training{unless}")
    group.add_argument(
        "--patience", type=positive_int, metavar="LOOKS", help="stop after so many looks without improvement"
    )
    group.add_argument(
        "--max-time",
        type=duration,
        metavar="TIME",
        help="end this process after so long (23.5h, 90m, 23:30:00), compilation included, when the step or "
        "look in hand is done; exit code 124",
    )
    group.add_argument(
        "--monitor-iters", type=positive_int, help=f"look after so many iterations{default(10000)}"
    )
    group.add_argument("--monitor-minutes", type=positive, help=f"look after so much training{default(90)}")
    group.add_argument("--save-minutes", type=positive, help=f"save after so much training{default(10)}")
    group.add_argument(
        "--keep",
        type=positive_int,
        metavar="N",
        help=f"keep the checkpoints of the N latest and the N best looks{default(1)}",
    )
    group.add_argument(
        "--n_seqs",
        type=count,
        help=f"sequences to generate at each look{default(f'{family.n_seqs}; 0: none' if family else '')}",
    )
    group.add_argument("--sample-seconds", type=positive, help=f"their length{default(5)}")


def _add_distributed(parser: Any) -> None:
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="be one of several processes that train together, as srun, mpirun or JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID say; with all their devices",
    )


def _together(a: argparse.Namespace, work: Callable[[argparse.Namespace], int]) -> int:
    """Do the work of a command, in several processes if that is asked for."""
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

    return distributed.together(with_all_devices)


DEBUG = {"max_iters": 60, "monitor_iters": 20, "n_seqs": 2, "sample_seconds": 0.25}


def _train(a: argparse.Namespace) -> int:
    return _together(a, _train_here)


def _train_here(a: argparse.Namespace) -> int:
    from dataclasses import fields, replace

    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.config.schedule import original_schedule
    from samplernn_theano.data import dataset
    from samplernn_theano.original import layout, results_folder
    from samplernn_theano.training import distributed
    from samplernn_theano.training.run import resume, train

    given = {f.name: getattr(a, f.name) for f in fields(FAMILIES[a.family]) if getattr(a, f.name) is not None}
    hp = preset(a.family, a.preset, given)
    asked = (DEBUG if a.debug else {}) | _asked_of_schedule(a)
    schedule = original_schedule(type(hp))
    if asked.keys() & {"max_iters", "max_epochs"}:
        schedule = replace(schedule, max_minutes=None)
    exp = a.exp or f"{a.family}-{a.preset}"
    folder = a.run or Path("runs") / exp
    if a.original_layout and not a.run:
        which_set = layout.which_set(dataset.split_path(a.data, "train").name)
        folder = layout.place("", hp, which_set, exp, a.learning_rate)
    found = run_folder.Run(folder).last.exists() or results_folder.has_log(folder)
    (found_by_first,), _ = distributed.agree(found)  # so that all processes do the same
    if a.resume and found_by_first:
        _check_same_model(folder, hp, given, a)
        code = resume(folder, _changes(a), a.data, a.backend, a.max_time, (), a.precision, a.devices)
    else:
        code = train(
            hp,
            a.data,
            folder,
            replace(schedule, **asked),
            seed=a.seed,
            learning_rate=a.learning_rate,
            backend=a.backend,
            form=a.form,
            ip_weight=getattr(a, "ip_weight", 0.0),
            precision=a.precision or "highest",
            n_devices=a.devices or 1,
            overwrite=a.overwrite,
            settings={"command": shlex.join(["samplernn", *a.words])},
            max_seconds=a.max_time,
            exp=exp if a.original_layout else None,
        )
    return _told(folder, code)


def _check_same_model(
    folder: Path, hp: HyperParameters, given: dict[str, Any], a: argparse.Namespace
) -> None:
    """Raise HyperParameterError if a run that is to go on is not what is asked for."""
    from dataclasses import asdict

    from samplernn_theano.checkpoints import run_folder
    from samplernn_theano.training.run import checkpoint_of

    old, originals = checkpoint_of(run_folder.Run(folder))
    unsaid = {"seed": 123, "form": "fast", "ip_weight": 0.0}  # in a run of the original's
    before = {"family": old.hp.family, **asdict(old.hp), **unsaid, **old.settings}
    names = [name for name in (*unsaid, "learning_rate") if hasattr(a, name)]
    asked = {"family": hp.family, **asdict(hp)} | {name: getattr(a, name) for name in names}
    if a.original_layout:
        asked["original_layout"], before["original_layout"] = (
            True,
            originals or old.settings.get("original_layout"),
        )
    for name, value in asked.items():
        # What was measured on the clips when the run began need not be given again.
        if before[name] != value and not (name in ("mean", "std") and name not in given):
            raise HyperParameterError(
                f"{folder} holds a run with {name} {before.get(name)}, not {value}; go on with it by "
                f"samplernn resume {folder}, or choose another folder with --run."
            )


def _asked_of_schedule(a: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import fields

    from samplernn_theano.config.schedule import Schedule

    asked = {f.name: getattr(a, f.name) for f in fields(Schedule)}
    return {name: value for name, value in asked.items() if value is not None}


def _told(folder: Path, code: int) -> int:
    print(f"The run is in {folder}. Its learning curve: {folder / 'train_log.png'}")
    return code


# --- resume -------------------------------------------------------------------------------------------------


def add_resume(commands: Any) -> None:
    """Give `commands` the command resume."""
    parser = commands.add_parser("resume", help="go on with a run that was stopped")
    parser.add_argument("run", type=Path, help="folder of the run, ours or the original's")
    parser.add_argument("--data", type=Path, help="where the data set is now (default: where it was)")
    _add_schedule(parser)
    add_set(parser, "a hyper-parameter of a run of the original's that its files do not tell")
    add_backend(parser)
    add_precision(parser, "as before")
    add_devices(parser, "as before")
    _add_distributed(parser)
    parser.set_defaults(command=_resume)


def _resume(a: argparse.Namespace) -> int:
    return _together(a, _resume_here)


def _resume_here(a: argparse.Namespace) -> int:
    from samplernn_theano.training.run import resume

    how = (a.backend, a.max_time, a.set, a.precision, a.devices)
    return _told(a.run, resume(a.run, _changes(a), a.data, *how))


def _changes(a: argparse.Namespace) -> dict[str, Any]:
    """What becomes of the schedule of a run that goes on: a limit that is named takes the place of all."""
    limits = {"max_iters", "max_epochs", "max_minutes"}
    asked = _asked_of_schedule(a)
    return (dict.fromkeys(limits) if asked.keys() & limits else {}) | asked
