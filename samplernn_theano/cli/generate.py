"""The command `samplernn generate`."""

import argparse
import math
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.options import MODEL, add, add_backend, add_command, add_set
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.config.schedule import original_schedule
from samplernn_theano.errors import HyperParameterError

if TYPE_CHECKING:  # slow modules are imported when the command runs
    from samplernn_theano.config.hyperparameters import HyperParameters
    from samplernn_theano.generation.gallery import Record
    from samplernn_theano.generation.request import Request
    from samplernn_theano.generation.write import OutputFiles

MAX_LISTED = 8  # files on the terminal


def add_generate(commands: Any) -> None:
    """Add the command `generate`."""
    parser = add_command(commands, "generate", _generate, "generate sound with a trained model")
    add(parser, "checkpoint", f"{MODEL}; give it first", Path)
    sampling, output = parser.groups["sampling"], parser.groups["output"]
    add(sampling, "--seconds", "length of each sequence", positive, 5.0)
    text = "number of sequences (default: 4, or the number of --prime if larger)"
    add(sampling, "--n_seqs", text, positive_int)
    add(sampling, "--seed", "random seed; sequence i depends on it and on i only", seed, 0)
    text = "one, or one per sequence; logits are divided by it (default: 1)"
    add(sampling, "--temperature", text, float, nargs="+", metavar="T")
    text = "draw only the most probable levels, with probability P together (default: 1, all levels)"
    sampling.add_argument("--top-p", type=float, default=1.0, metavar="P", help=text)
    text = "a recording to continue, or the part of it between two times in seconds, written before the "
    text += "generated part (repeatable; sequences cycle through them)"
    sampling.add_argument(
        "--prime", type=Path, action="append", default=[], metavar="FILE[:FROM:TO]", help=text
    )
    add(sampling, "--without-prime", "write only the generated part, without the prime", bool)
    text = (
        "feed and write silence between these seconds of the generated part; 2:3 is the paper's experiment "
        "on the memory of a model"
    )
    add(sampling, "--silence", text, _interval, metavar="FROM:TO")
    text = (
        "reproduce the original's samples exactly: its random numbers, its wav files (which may have an "
        "offset), and by default its 20 sequences (wavenet 10) of 5 s"
    )
    add(sampling, "--like-original", text, bool)
    text = (
        "folder of the sound files (default: samples, in the run, next to a single file, or for "
        "pretrained/NAME in the current folder), or - to write one sequence to standard output as raw PCM "
        "(mono, 16-bit, little-endian, of the model's rate: 16 kHz)"
    )
    add(output, "--out", text, Path)
    output.add_argument(
        "--format", choices=("wav", "flac", "ogg"), default="wav", help="format of the files (default: wav)"
    )
    add(output, "--float", "write wav with 32-bit floats instead of 16-bit integers", bool)
    add(output, "--overwrite", "replace existing files", bool)
    text = "a reference recording for the figure (repeatable)"
    output.add_argument("--beside", type=Path, action="append", default=[], metavar="FILE", help=text)
    add(
        output,
        "--rank",
        "score the sequences that are not nearly silent under the model, and list them by score",
        bool,
    )
    add_set(parser, "a hyper-parameter missing from the original's files, such as q_type=mu-law")
    add_backend(parser)


def _interval(text: str) -> tuple[float, float]:
    """Parse FROM:TO in seconds."""
    number = r"(\d+(?:\.\d*)?|\.\d+)"
    match = re.fullmatch(f"{number}:{number}", text)
    if match and float(match[1]) < float(match[2]):
        return float(match[1]), float(match[2])
    raise argparse.ArgumentTypeError(f"{text!r} is not an interval FROM:TO in seconds, such as 2:3")


def _generate(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.data import audio
    from samplernn_theano.evaluation import score_report
    from samplernn_theano.generation import write

    model = load.read(a.checkpoint, a.set)
    to_stdout, rate = str(a.out) == "-", model.hp.rate
    log = partial(print, file=sys.stderr if to_stdout else sys.stdout, flush=True)
    log(score_report.describe_model(model))
    request, n_samples = _request(a, model.hp)
    if a.float and a.format != "wav":
        raise HyperParameterError("--float is for wav files; leave it out, or leave out --format.")
    if to_stdout:
        if request.n_seqs > 1 or a.like_original:
            raise HyperParameterError("--out - is for one sequence; give --n_seqs 1, and no --like-original.")
        if a.format != "wav" or a.float or a.beside or a.rank:
            raise HyperParameterError(
                "--out - writes raw 16-bit PCM only; leave out --format, --float, --beside and --rank."
            )
        write.stream(model, request, n_samples, sys.stdout.buffer, not a.without_prime, log)
        return 0
    reference = {str(path): audio.read_mono(path, rate)[: write.MINUTE * rate].copy() for path in a.beside}
    output = write.name_files(model, request, a.out or write.default_folder(model.path), a.format)
    write.check_overwrite(output, a.overwrite)
    record, n_generated, seconds = write.write_samples(
        model,
        request,
        output,
        n_samples,
        float32=a.float,
        overwrite=a.overwrite,
        with_prime=not a.without_prime,
        rank=a.rank,
        reference=reference,
        log=log,
    )
    _report(record, n_generated, seconds, output, rate)
    return 0


def _request(a: argparse.Namespace, hp: "HyperParameters") -> tuple["Request", int]:
    """Request of the command, and the number of samples to generate of each sequence."""
    from samplernn_theano.generation import like_original
    from samplernn_theano.generation.request import Prime, Request

    n_samples, silent = max(1, round(a.seconds * hp.rate)), range(0)
    if a.silence:
        silent = range(*(round(t * hp.rate) for t in a.silence))
        if silent.start >= n_samples:
            raise HyperParameterError(
                f"--silence {a.silence[0]:g}:{a.silence[1]:g} starts after the end; give more --seconds."
            )
    n_seqs = 1 if str(a.out) == "-" else max(4, len(a.prime))
    if a.like_original:
        if not like_original.supports(hp):
            raise HyperParameterError(
                f"The original has no {hp.family} model of this kind; generate without --like-original."
            )
        if a.silence or a.format != "wav" or a.float:
            raise HyperParameterError(
                "--like-original writes the original's wav files; leave out --silence, --format and --float."
            )
        n_seqs, silent = original_schedule(type(hp)).n_seqs, like_original.silenced(hp)
        n_samples -= like_original.left_padding(hp)
        if n_samples < 1:
            raise HyperParameterError("--seconds is too short for this model; give 1 or more.")
    request = Request(
        n_seqs=a.n_seqs or n_seqs,
        seed=a.seed,
        temperature=tuple(a.temperature or [1.0]),
        top_p=a.top_p,
        primes=tuple(map(Prime.parse, a.prime)),
        silent=silent,
        like_original=a.like_original,
        backend=a.backend,
    )
    return request, n_samples


def _report(record: "Record", n_generated: int, seconds: float, output: "OutputFiles", rate: int) -> None:
    """Print the speed, and the files with their loudness."""
    from samplernn_theano.data.doubts import MIN_PEAK

    sounds, speed = record.sounds, n_generated / seconds
    n, length = len(sounds), n_generated / rate
    print(
        f"{n} x {length:.2f} s of sound in {seconds:.1f} s with compilation and writing: "
        f"{speed:,.0f} steps/s, {n * speed / rate:.2f} times real time"
    )
    silent = [sound for sound in sounds if sound.near_silent]
    for sound in sorted(sounds, key=lambda sound: (sound.near_silent, sound.nll_bits or 0))[:MAX_LISTED]:
        bits = "" if sound.nll_bits is None else f", {sound.nll_bits:.4f} bits per sample"
        print(f"{output.folder / sound.file} ({sound.level}{bits})")
    if n > MAX_LISTED:
        print(f"... and {n - MAX_LISTED} more")
    if silent:
        print(
            f"{len(silent)} of {n} sequences are below {20 * math.log10(MIN_PEAK):.0f} dBFS for at least "
            "three quarters of the time and are not ranked: the best score of all is that of silence."
        )
    print(*[output.figure] * output.figure.exists(), output.folder / "index.html", sep="\n")
