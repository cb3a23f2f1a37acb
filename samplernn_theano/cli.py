"""The command line: `samplernn COMMAND ...`.

Exit codes: 0 done, 1 a conformance check failed, 2 something the user can put right, 124 stopped by
--max-time, 130 or 143 stopped by Ctrl-C or SIGTERM. The heavy imports stand inside the commands, so that
`--help` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samplernn_theano import __version__
from samplernn_theano.arguments import Parser, add_backend, add_set, guarded, positive, positive_int, seed
from samplernn_theano.cli_convert import add_convert
from samplernn_theano.cli_data import add_check_data, add_prepare
from samplernn_theano.cli_files import add_inspect, add_show
from samplernn_theano.cli_scores import add_compare, add_evaluate
from samplernn_theano.cli_train import add_resume, add_train
from samplernn_theano.errors import OutputError


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
    add_train(commands)
    add_resume(commands)
    add_show(commands)
    _add_generate(commands)
    add_evaluate(commands)
    add_compare(commands)
    add_inspect(commands)
    add_convert(commands)
    _add_conformance(commands)
    _add_info(commands)
    return parser


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
    add_set(parser, "a hyper-parameter that the original's files do not tell, such as q_type=mu-law")
    add_backend(parser)
    parser.set_defaults(command=_generate)


def _generate(a: argparse.Namespace) -> int:
    import time

    from samplernn_theano import audio, evaluation, generation, plots, saved

    model = saved.read(a.checkpoint, a.set)
    print(evaluation.describe(model), flush=True)
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
    paths = [out / f"{stem}_{i}.wav" for i in range(a.n_seqs)]
    generation.write_sequences(paths, sequences, hp)
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
    add_backend(parser)
    parser.set_defaults(command=_conformance)


def _conformance(a: argparse.Namespace) -> int:
    from samplernn_theano import conformance

    return conformance.run(a.folder, a.family, a.case, a.corpus, a.backend, a.form, a.brief)


# --- info ---------------------------------------------------------------------------------------------------


def _add_info(commands: Any) -> None:
    parser = commands.add_parser("info", help="versions, backend, devices, threads")
    add_backend(parser)
    parser.set_defaults(command=_info)


def _info(a: argparse.Namespace) -> int:
    from samplernn_theano import backend

    for name, value in backend.describe(a.backend).items():
        print(f"{name + ':':<24}{value}")
    return 0
