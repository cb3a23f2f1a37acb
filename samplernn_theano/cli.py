"""The command line: `samplernn COMMAND ...`.

Exit codes: 0 done, 1 a conformance check failed, 2 something the user can put right, 130 or 143 stopped by
Ctrl-C or SIGTERM. The heavy imports stand inside the commands, so that `--help` answers at once.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samplernn_theano import __version__
from samplernn_theano.arguments import Parser, count, guarded, positive, positive_int, seed, weight
from samplernn_theano.cli_convert import add_convert
from samplernn_theano.cli_data import add_check_data, add_prepare
from samplernn_theano.cli_files import add_inspect, add_show
from samplernn_theano.cli_scores import add_compare, add_evaluate
from samplernn_theano.errors import OutputError
from samplernn_theano.flags import add_flags
from samplernn_theano.hyperparameters import FAMILIES, HyperParameters
from samplernn_theano.presets import PRESETS, preset


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return guarded(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(words: list[str]) -> int:
    arguments = build_parser().parse_args(words)
    arguments.words = words
    if getattr(arguments, "threads", None):
        from samplernn_theano import threads

        threads.limit(arguments.threads)
    return arguments.command(arguments)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = Parser(
        prog="samplernn", description="SampleRNN (ICLR 2017), faithful to the authors' code, on PyTensor."
    )
    parser.add_argument("--version", action="version", version=f"samplernn-theano {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    add_prepare(commands)
    add_check_data(commands)
    _add_train(commands)
    _add_resume(commands)
    add_show(commands)
    _add_generate(commands)
    add_evaluate(commands)
    add_compare(commands)
    add_inspect(commands)
    add_convert(commands)
    _add_conformance(commands)
    _add_info(commands)
    return parser


# --- train --------------------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
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
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    parser.add_argument(
        "--preset",
        default="best",
        help=f"start from these values: {', '.join(PRESETS[name])} (default: %(default)s)",
    )
    add_flags(
        parser.add_argument_group("hyper-parameters, named as in the original (default: the preset's)"),
        family,
    )

    schedule = parser.add_argument_group("when to stop and when to look")
    hours = f"{family.max_minutes / 60:.0f} hours"
    schedule.add_argument("--max-iters", type=positive_int, help="stop after so many iterations")
    schedule.add_argument("--max-epochs", type=positive_int, help="stop after so many epochs")
    schedule.add_argument(
        "--max-minutes",
        type=positive,
        help=f"stop after so much training (default, if no limit is given: {hours})",
    )
    schedule.add_argument(
        "--monitor-iters", type=positive_int, help="look after so many iterations (default: 10000)"
    )
    schedule.add_argument(
        "--monitor-minutes", type=positive, help="look after so much training (default: 90)"
    )
    schedule.add_argument("--save-minutes", type=positive, help="save after so much training (default: 10)")
    schedule.add_argument(
        "--n_seqs",
        type=count,
        help=f"sequences to generate at each look (default: {family.n_seqs}; 0: none)",
    )
    schedule.add_argument("--sample-seconds", type=positive, help="their length (default: 5)")
    schedule.add_argument(
        "--debug", action="store_true", help="60 iterations, a look every 20: does it work at all?"
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
    _add_backend(parser)
    parser.set_defaults(command=_train, family=name)


DEBUG = {"max_iters": 60, "monitor_iters": 20, "n_seqs": 2, "sample_seconds": 0.25}


def _train(a: argparse.Namespace) -> int:
    from dataclasses import fields, replace

    from samplernn_theano import training
    from samplernn_theano.schedule import Schedule, original_schedule

    given = {f.name: getattr(a, f.name) for f in fields(FAMILIES[a.family]) if getattr(a, f.name) is not None}
    hp = preset(a.family, a.preset, given)
    asked = {f.name: getattr(a, f.name) for f in fields(Schedule)}
    asked = (DEBUG if a.debug else {}) | {name: value for name, value in asked.items() if value is not None}
    schedule = original_schedule(type(hp))
    if asked.keys() & {"max_iters", "max_epochs"}:
        schedule = replace(schedule, max_minutes=None)
    folder = a.run or Path("runs") / (a.exp or f"{a.family}-{a.preset}")
    signal = training.train(
        hp,
        a.data,
        folder,
        replace(schedule, **asked),
        seed=a.seed,
        learning_rate=a.learning_rate,
        backend=a.backend,
        form=a.form,
        ip_weight=getattr(a, "ip_weight", 0.0),
        overwrite=a.overwrite,
        settings={"command": shlex.join(["samplernn", *a.words])},
    )
    print(f"The run is in {folder}. Its learning curve: {folder / 'train_log.png'}")
    return 128 + signal if signal else 0


# --- resume -------------------------------------------------------------------------------------------------


def _add_resume(commands: Any) -> None:
    parser = commands.add_parser("resume", help="go on with a run that was stopped")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--data", type=Path, help="where the data set is now (default: where it was)")
    parser.add_argument("--max-iters", type=positive_int, help="stop after so many iterations in all")
    parser.add_argument("--max-epochs", type=positive_int, help="stop after so many epochs in all")
    parser.add_argument("--max-minutes", type=positive, help="stop after so much training in all")
    parser.add_argument("--threads", type=positive_int, help="at most so many threads (default: all cores)")
    parser.set_defaults(command=_resume)


def _resume(a: argparse.Namespace) -> int:
    from samplernn_theano import training

    limits = {name: getattr(a, name) for name in ("max_iters", "max_epochs", "max_minutes")}
    changes = limits if any(limits.values()) else {}
    signal = training.resume(a.run, changes, a.data)
    print(f"The run is in {a.run}. Its learning curve: {a.run / 'train_log.png'}")
    return 128 + signal if signal else 0


# --- generate -----------------------------------------------------------------------------------------------


def _add_generate(commands: Any) -> None:
    parser = commands.add_parser("generate", help="make sound with a trained model")
    parser.add_argument(
        "checkpoint", type=Path, help="a checkpoint (.npz, or .pkl of the original's) or a run (its best one)"
    )
    parser.add_argument(
        "--seconds", type=positive, default=5.0, help="length of a sequence (default: %(default)s)"
    )
    parser.add_argument(
        "--n_seqs", type=positive_int, default=4, help="sequences at once (default: %(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the draws (default: %(default)s)")
    parser.add_argument(
        "--information-retention",
        action="store_true",
        help="feed silence in the third second: what does the model remember of the first two?",
    )
    parser.add_argument("--out", type=Path, help="folder of the sound files (default: samples of the run)")
    parser.add_argument(
        "--beside", type=Path, action="append", default=[], help="a recording to compare with in the picture"
    )
    _add_backend(parser)
    parser.set_defaults(command=_generate)


def _generate(a: argparse.Namespace) -> int:
    import time

    from samplernn_theano import audio, generation, plots, saved

    model = saved.read(a.checkpoint)
    path, hp, params = model.path, model.hp, saved.build(model).parameters
    n_samples = max(1, round(a.seconds * audio.SAMPLE_RATE))
    out = (
        a.out
        or (path.parent.parent if path.parent.name in ("checkpoints", "params") else path.parent) / "samples"
    )
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; choose another folder with --out.")
    beside = {str(p): audio.read_mono(p)[:n_samples] for p in a.beside}
    stem = f"{path.stem}_seed{a.seed}"
    silent = range(0)
    if a.information_retention:
        silent, stem = generation.INFORMATION_RETENTION, stem + "_retention"
        if n_samples <= silent.stop:
            raise OutputError("--information-retention needs more than 3 seconds; give --seconds 5.")
    blocks = generation.compile_sampler(params, hp, a.n_seqs, a.backend)(a.seed, silent)
    began = time.perf_counter()
    sequences = generation.take(blocks, n_samples, progress=True)
    took = time.perf_counter() - began
    paths = generation.write_sequences(out, stem, sequences, hp)
    picture = out / f"{stem}_spectrograms.png"
    shown = {p.name: generation.waveform(x, hp) for p, x in list(zip(paths, sequences, strict=True))[:8]}
    plots.spectrograms(picture, beside | shown)
    print(
        f"{a.n_seqs} x {n_samples / audio.SAMPLE_RATE:.2f} s of sound in {took:.1f} s with compilation: "
        f"{n_samples / took:,.0f} steps/s, "
        f"{a.n_seqs * n_samples / audio.SAMPLE_RATE / took:.2f} times real time"
    )
    for p in (*paths, picture):
        print(p)
    return 0


# --- conformance --------------------------------------------------------------------------------------------


def _add_conformance(commands: Any) -> None:
    parser = commands.add_parser(
        "conformance", help="hold our models against data that the original produced"
    )
    parser.add_argument("folder", type=Path, help="cases: NAME.json and NAME.npz each")
    parser.add_argument(
        "--family", action="append", metavar="FAMILY", help="only cases of this family (may be repeated)"
    )
    parser.add_argument("--case", action="append", metavar="NAME", help="only this case (may be repeated)")
    parser.add_argument(
        "--corpus", type=Path, help="clips that the cases were fed with (default: corpus beside FOLDER)"
    )
    parser.add_argument(
        "--form", choices=("fast", "reference"), default="fast", help="of the recurrent layers"
    )
    parser.add_argument("--brief", action="store_true", help="a line per kind of quantity, and what fails")
    _add_backend(parser)
    parser.set_defaults(command=_conformance)


def _conformance(a: argparse.Namespace) -> int:
    from samplernn_theano import conformance

    return conformance.run(a.folder, a.family, a.case, a.corpus, a.backend, a.form, a.brief)


# --- info ---------------------------------------------------------------------------------------------------


def _add_info(commands: Any) -> None:
    parser = commands.add_parser("info", help="versions, backend, devices, threads")
    _add_backend(parser)
    parser.set_defaults(command=_info)


def _info(a: argparse.Namespace) -> int:
    from samplernn_theano import backend

    for name, value in backend.describe(a.backend).items():
        print(f"{name + ':':<24}{value}")
    return 0


# --- helpers ------------------------------------------------------------------------------------------------


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", metavar="NAME", help="jax, numba or c (default: jax where installed, else numba)"
    )
    parser.add_argument("--threads", type=positive_int, help="at most so many threads (default: all cores)")
