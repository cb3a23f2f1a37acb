"""The command that makes sound: `samplernn generate`."""

import argparse
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.options import add_backend, add_set
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

if TYPE_CHECKING:  # what is heavy to import is imported when the command runs
    from samplernn_theano.config.hyperparameters import HyperParameters
    from samplernn_theano.generation.file_names import Files
    from samplernn_theano.generation.request import Request
    from samplernn_theano.generation.write import Made

SUFFIXES = ("wav", "flac", "ogg")

LISTED = 8
"""Files that the terminal names."""


def add_generate(commands: Any) -> None:
    """Add the command `generate`."""
    parser = commands.add_parser("generate", help="make sound with a trained model")
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="a checkpoint (.npz, or .pkl of the original's) or a run (its best one); it comes first",
    )
    asked = parser.add_argument_group("what to generate")
    asked.add_argument(
        "--seconds", type=positive, default=5.0, help="length of what is generated (default: %(default)s)"
    )
    asked.add_argument(
        "--n_seqs",
        type=positive_int,
        help="sequences (default: 4, or one for each --prime if these are more)",
    )
    asked.add_argument(
        "--seed",
        type=seed,
        default=0,
        help="of the draws; sequence i depends on it and on i only (default: 0)",
    )
    asked.add_argument(
        "--temperature",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="T",
        help="one, or one for each sequence: below 1 the probable becomes more so (default: 1)",
    )
    asked.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw only the most probable levels, those that have probability P together (default: 1, all)",
    )
    asked.add_argument(
        "--prime",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a recording to go on from (may be repeated: the sequences take turns); it is written in front",
    )
    asked.add_argument(
        "--without-prime", action="store_true", help="write only what is generated, not what it goes on from"
    )
    asked.add_argument(
        "--silence",
        type=_stretch,
        metavar="FROM:TO",
        help="feed and write silence between these seconds of what is generated; 2:3 is the paper's "
        "experiment on what a model remembers",
    )
    asked.add_argument(
        "--like-original",
        action="store_true",
        help="the original's samples to the sample: its random numbers, its wav files (which may have an "
        "offset), unless said otherwise its 20 sequences (wavenet 10) of 5 s",
    )
    asked.add_argument(
        "--generations",
        type=positive_int,
        default=1,
        help="with --like-original: so many in a row, as in one process of the original (default: 1)",
    )
    written = parser.add_argument_group("what to write")
    written.add_argument(
        "--out",
        type=Path,
        help="folder of the sound files (default: samples of the run), or - : raw 16-bit PCM, mono, 16 kHz, "
        "little-endian, of one sequence to standard output",
    )
    written.add_argument("--format", choices=SUFFIXES, default="wav", help="default: %(default)s")
    written.add_argument(
        "--float", action="store_true", help="wav of 32-bit floats in place of 16-bit integers"
    )
    written.add_argument("--overwrite", action="store_true", help="replace what is there")
    written.add_argument(
        "--beside", type=Path, action="append", default=[], help="a recording to compare with in the picture"
    )
    written.add_argument(
        "--rank", action="store_true", help="score what was generated under the model, and list it by that"
    )
    add_set(parser, "a hyper-parameter that the original's files do not tell, such as q_type=mu-law")
    add_backend(parser)
    parser.set_defaults(command=_generate)


def _stretch(word: str) -> tuple[float, float]:
    """FROM:TO in seconds."""
    number = r"(\d+(?:\.\d*)?|\.\d+)"
    found = re.fullmatch(f"{number}:{number}", word)
    if found and float(found[1]) < float(found[2]):
        return float(found[1]), float(found[2])
    raise argparse.ArgumentTypeError(f"{word!r} is no stretch of time FROM:TO in seconds, such as 2:3")


def _generate(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.data import audio
    from samplernn_theano.evaluation import nll
    from samplernn_theano.generation import file_names, stdout, write

    model = load.read(a.checkpoint, a.set)
    to_stdout = str(a.out) == "-"
    say = partial(print, file=sys.stderr if to_stdout else sys.stdout, flush=True)
    say(nll.describe(model))
    requests, n_samples = _requests(a, model.hp)
    if a.float and a.format != "wav":
        raise HyperParameterError("--float is for wav files; leave it out, or leave out --format.")
    if to_stdout:
        if requests[0].n_seqs > 1 or a.like_original:
            raise HyperParameterError("--out - is for one sequence; give --n_seqs 1, and no --like-original.")
        if a.format != "wav" or a.float or a.beside or a.rank:
            raise HyperParameterError(
                "--out - writes raw 16-bit PCM alone; leave out --format, --float, --beside and --rank."
            )
        stdout.stream(model, requests[0], n_samples, sys.stdout.buffer, not a.without_prime, say)
        return 0
    beside = {str(path): audio.read_mono(path)[: write.MINUTE].copy() for path in a.beside}
    folder = a.out or file_names.default_folder(model.path)
    all_wanted = [file_names.name_files(model, request, folder, a.format, a.float) for request in requests]
    first = 0 if a.overwrite else file_names.first_to_do(all_wanted)
    for wanted in all_wanted[first:]:
        file_names.make_way(wanted, a.overwrite)
    for request, wanted in zip(requests[first:], all_wanted[first:], strict=True):
        made = write.produce(
            model, request, wanted, n_samples, a.overwrite, not a.without_prime, a.rank, beside, say
        )
        _tell(made, wanted)
    return 0


def _requests(a: argparse.Namespace, hp: "HyperParameters") -> tuple[list["Request"], int]:
    """What is asked for, and how many samples of each sequence to generate."""
    from samplernn_theano.generation import like_original
    from samplernn_theano.generation.request import Request

    n_samples = max(1, round(a.seconds * SAMPLE_RATE))
    silent = range(0)
    if a.silence:
        silent = range(*(round(t * SAMPLE_RATE) for t in a.silence))
        if silent.start >= n_samples:
            raise HyperParameterError(
                f"--silence {a.silence[0]:g}:{a.silence[1]:g} begins after the end; give more --seconds."
            )
    default = hp.n_seqs if a.like_original else 1 if str(a.out) == "-" else max(4, len(a.prime))
    request = Request(
        n_seqs=a.n_seqs or default,
        seed=a.seed,
        temperature=tuple(a.temperature),
        top_p=a.top_p,
        primes=tuple(a.prime),
        silent=silent,
        like_original=a.like_original,
        backend=a.backend,
    )
    if not a.like_original:
        if a.generations > 1:
            raise HyperParameterError("--generations goes with --like-original; else choose other seeds.")
        return [request], n_samples
    if not like_original.writes(hp):
        raise HyperParameterError(
            f"The original has no {hp.family} model of this kind; generate without --like-original."
        )
    if a.silence or a.format != "wav" or a.float:
        raise HyperParameterError(
            "--like-original writes the original's wav files; leave out --silence, --format and --float."
        )
    n_samples -= like_original.samples_in_front(hp)
    if n_samples < 1:
        raise HyperParameterError("--seconds is too short for this model; give 1 or more.")
    silent = like_original.silent(hp)
    return [
        replace(request, silent=silent, generation=g, draws=n_samples) for g in range(1, a.generations + 1)
    ], n_samples


def _tell(made: "Made", wanted: "Files") -> None:
    """What was written, where, at which level, and how fast."""
    sounds, speed = made.record.sounds, made.n_generated / made.seconds
    n, length = len(sounds), made.n_generated / SAMPLE_RATE
    print(
        f"{n} x {length:.2f} s of sound in {made.seconds:.1f} s with compilation and writing: "
        f"{speed:,.0f} steps/s, {n * speed / SAMPLE_RATE:.2f} times real time"
    )
    ranked = sorted(sounds, key=lambda sound: sound.nll_bits or 0)
    for sound in ranked[:LISTED]:
        rms = "silent" if sound.rms_dbfs is None else f"peak {sound.peak:.2f}, RMS {sound.rms_dbfs:.1f} dBFS"
        bits = "" if sound.nll_bits is None else f", {sound.nll_bits:.4f} bits per sample"
        print(f"{wanted.folder / sound.file} ({rms}{bits})")
    if n > LISTED:
        print(f"... and {n - LISTED} more")
    print(wanted.sheet)
    print(wanted.page)
