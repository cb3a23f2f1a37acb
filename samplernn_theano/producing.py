"""From a checkpoint to a folder of sound files, or to standard output: what `samplernn generate` does."""

import hashlib
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano import (
    __version__,
    engines,
    files,
    gallery,
    generation,
    like_original,
    plots,
    scoring,
    sound_files,
    spool,
)
from samplernn_theano.audio import SAMPLE_RATE
from samplernn_theano.backend import default_backend
from samplernn_theano.errors import OutputError
from samplernn_theano.file_names import Files
from samplernn_theano.generation import Generator, Request
from samplernn_theano.hyperparameters import HyperParameters
from samplernn_theano.original.mrg31k3p import SEED as ORIGINAL_SEED
from samplernn_theano.provenance import USED
from samplernn_theano.saved import Saved

MINUTE = 60 * SAMPLE_RATE

BAR: dict[str, Any] = {
    "desc": "generate",
    "bar_format": "{desc}: {percentage:3.0f}% |{bar}| {n:.1f} of {total:.1f} s of sound "
    "[{elapsed}<{remaining}{postfix}]",
    "unit_scale": 1 / SAMPLE_RATE,  # it counts samples and shows seconds
}
"""A bar of the progress of a generation."""


@dataclass(frozen=True)
class Made:
    """What `produce` made, and how fast."""

    record: gallery.Record
    n_generated: int  # samples of each sequence that were generated now, not before an interruption
    seconds: float  # that this took, with compilation and writing


# --- a folder of sounds -------------------------------------------------------------------------------------


def produce(
    model: Saved,
    request: Request,
    wanted: Files,
    n_samples: int,
    overwrite: bool = False,
    with_prime: bool = True,
    rank: bool = False,
    beside: Mapping[str, NDArray[np.float32]] | None = None,
    say: Callable[[str], object] = print,
) -> Made:
    """Generate, or go on where the same command was interrupted; write the sounds, their record and the page.

    With `overwrite`, what another command left unfinished is begun anew. `beside` is as in `draw`.

    Raises
    ------
    SampleRNNError
        As `generation.prepare`, `spool.fill`, `sound_files.write` and `draw`.
    """
    began = time.perf_counter()
    with files.locked(wanted.spool):  # makes the folders: whether they can be written shows before the work
        try:
            _remove_half_written(wanted)
            say(f"Preparing {model.hp.family} ... (longer the first time)")
            generator = generation.prepare(model, request, progress=True)
            tell_primes(request, generator, say)
            primes = [prime.samples for prime in generator.primes]
            longest = max(map(len, primes), default=0) if with_prime else 0
            sound_files.check_size(wanted.sounds[0], longest + n_samples, wanted.float32)
            scorer = scoring.compile_scorer(model, request.backend) if rank else None
            at = spool.open_spool(wanted.spool, _identity(model, request, generator), generator, overwrite)
            _check_length(at, generator, n_samples, overwrite)
            n_generated = _fill(at, generator, n_samples)
            heard = [primes[i % len(primes)] for i in range(at.n_seqs)] if primes else []
            scores = _scores(scorer, at, n_samples, heard) if scorer else [None] * request.n_seqs
            sounds, checkpoint = [], _checkpoint(model)
            for i, (path, nll_bits) in enumerate(zip(wanted.sounds, scores, strict=True)):
                if request.like_original:
                    sound = _write_like_original(path, model.hp, spool.raw(at, i, n_samples))
                else:
                    before = [primes[i % len(primes)]] if with_prime and primes else []

                    def pieces(i: int = i, before: list[NDArray] = before) -> Iterator[NDArray]:
                        return chain(before, spool.pieces(at, i, n_samples))

                    tags = _tags(path, model, checkpoint, request, i)
                    sound = _write(path, tags, wanted.float32, generator, pieces, sum(map(len, before)))
                sounds.append(replace(sound, nll_bits=nll_bits))
            record = _record(model, checkpoint, request, wanted, n_samples, sounds)
            _remove_replaced(wanted)
            gallery.write_record(wanted.folder, record)
            took = time.perf_counter() - began
            draw(wanted, record, beside or {})
            at.request.unlink()  # done
        finally:
            if not spool.is_begun(wanted.spool):
                spool.remove(wanted.spool)
    return Made(record, n_generated, took)


def _check_length(at: spool.Spool, generator: Generator, n_samples: int, overwrite: bool) -> None:
    """Raise OutputError if more is there of an unfinished generation than is asked for."""
    there = spool.position(at, generator)
    if there >= n_samples + at.length and not overwrite:
        raise OutputError(
            f"{there / SAMPLE_RATE:.1f} s of an unfinished generation of this name are there; give "
            f"--seconds {math.ceil(there / SAMPLE_RATE)} or more, or --overwrite, which drops the rest."
        )


def _remove_replaced(wanted: Files) -> None:
    """The sounds of a generation of the same name that was replaced and had other numbers of sequences."""
    kept = {path.name for path in wanted.sounds}
    for old in gallery.read_records(wanted.folder):
        if old.stem == wanted.stem:
            for sound in old.sounds:
                if sound.file not in kept:
                    (wanted.folder / sound.file).unlink(missing_ok=True)


def _remove_half_written(wanted: Files) -> None:
    """What a process that was killed left of these files (`files.atomic_write`): it may be gigabytes."""
    ours = {path.name for path in (*wanted.sounds, wanted.record, wanted.sheet)}
    for path in wanted.folder.glob(".*.part.*"):
        found = re.fullmatch(r"\.(.+)\.\d+\.part(\.\w+)", path.name)
        if found and found[1] + found[2] in ours:
            path.unlink(missing_ok=True)


def _write(
    path: Path,
    tags: Mapping[str, str],
    float32: bool,
    generator: Generator,
    pieces: Callable[[], Iterator[NDArray]],
    n_before: int,
) -> gallery.Sound:
    """Write a sequence, whose samples come in `pieces`: without its mean, its largest magnitude 0.9.

    What is silenced, counted from `n_before`, is exactly 0.
    """
    mean, scale = generation.level(generation.amplitudes(x, generator.hp) for x in pieces())

    def levelled() -> Iterator[NDArray[np.float32]]:
        start, silent = -n_before, generator.silent
        for samples in pieces():
            x = (generation.amplitudes(samples, generator.hp) - mean) * scale
            x[max(0, silent.start - start) : max(0, silent.stop - start)] = 0
            start += len(x)
            yield x

    sound_files.write(path, levelled(), tags, float32)
    return _measured(path, levelled())


def _write_like_original(path: Path, hp: HyperParameters, levels: NDArray) -> gallery.Sound:
    amplitudes = like_original.write(path, levels, hp)
    return _measured(path, iter([np.nan_to_num(amplitudes)]))  # quirk: a constant is NaN in the file


def draw(wanted: Files, record: gallery.Record, beside: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the spectrogram sheet and the page of the folder.

    With recordings to compare with, the sheet also shows mean spectra; of each sound the first minute.
    """
    sounds = {sound.file: wanted.folder / sound.file for sound in record.sounds}
    if beside:
        first = list(sounds.items())[: gallery.SHOWN]
        shown = {name: soundfile.read(path, MINUTE, dtype="float32")[0] for name, path in first}
        plots.spectrograms(wanted.sheet, {**beside, **shown})
    else:
        gallery.write_sheet(wanted.sheet, sounds)
    gallery.write_page(wanted.folder)


def tell_primes(request: Request, generator: Generator, say: Callable[[str], object]) -> None:
    """Say what is worth knowing of the recordings to go on from."""
    for path, prime in zip(request.primes, generator.primes, strict=True):
        if prime.file_rate != SAMPLE_RATE:
            say(f"{path}: {prime.file_rate:,} Hz resampled to {SAMPLE_RATE:,} Hz")
        if prime.too_short:
            say(
                f"{path} has {len(prime.samples)} samples, the model looks back over {generator.hp.overlap}: "
                "it hears silence before it"
            )


def _fill(at: spool.Spool, generator: Generator, n_samples: int) -> int:
    """`spool.fill` with a progress bar: seconds of sound, times real time, what is left.

    Returns how many samples of each sequence were generated.
    """
    start = spool.position(at, generator)
    first = min(start, n_samples)
    if start:
        print(f"Going on after {first / SAMPLE_RATE:.1f} s.", file=sys.stderr)
    with tqdm(total=n_samples, initial=first, **BAR) as bar:
        told = clock(bar, at.n_seqs)
        try:
            spool.fill(at, generator, n_samples, told)
        except (KeyboardInterrupt, SystemExit):
            bar.write("Stopped; the same command goes on from here.", file=sys.stderr)
            raise
    return max(0, n_samples - start)


def clock(bar: tqdm, n_seqs: int) -> Callable[[int], None]:
    """What moves the bar to a number of samples. The first block counts for no speed: it may compile."""
    first: tuple[int, float] | None = None

    def told(position: int) -> None:
        nonlocal first
        now = time.perf_counter()
        if first is None:
            first = position, now
        elif now > first[1]:
            speed = (position - first[0]) / SAMPLE_RATE / (now - first[1])
            bar.set_postfix_str(f"{speed * n_seqs:.2f} x real time", refresh=False)
        bar.update(min(position, bar.total) - bar.n)

    return told


def _scores(
    scorer: scoring.Scorer, at: spool.Spool, n_samples: int, primes: Sequence[NDArray]
) -> list[float]:
    """Bits per sample of what was generated of each sequence, after its prime, under the same model."""
    scores = []
    for i in tqdm(range(at.n_seqs), "score", unit=" sequences"):
        prime = primes[i] if primes else np.zeros(0, at.dtype)
        samples = np.concatenate([prime.astype(at.dtype), spool.raw(at, i, n_samples)])
        scores.append(scoring.score(scorer, samples, f"sequence {i}", raw=True, skip=len(prime)).bits)
    return scores


def _measured(path: Path, pieces: Iterator[NDArray[np.float32]]) -> gallery.Sound:
    peak, squares, n = 0.0, 0.0, 0
    for x in pieces:
        peak = max(peak, float(np.abs(x).max()))
        squares, n = squares + float(np.square(x, dtype=np.float64).sum()), n + len(x)
    rms = 10 * math.log10(squares / n) if squares else None
    return gallery.Sound(file=path.name, peak=peak, rms_dbfs=rms, seconds=n / SAMPLE_RATE)


# --- what is said of it -------------------------------------------------------------------------------------


def _identity(model: Saved, request: Request, generator: Generator) -> dict[str, Any]:
    """All that the samples depend on, for `spool.open_spool`."""
    digest = _digest(model)
    for prime in generator.primes:
        digest.update(prime.samples.tobytes())
    settings = asdict(request) | {"primes": [str(p) for p in request.primes]}
    settings["silent"] = [request.silent.start, request.silent.stop]
    return {"hyper_parameters": asdict(model.hp), "arrays": digest.hexdigest(), "request": settings}


def _engine_name(request: Request, hp: HyperParameters) -> str:
    return request.backend or ("kernels" if engines.has_kernels(hp) else default_backend())


def _versions(request: Request, hp: HyperParameters) -> dict[str, str]:
    """Of this package and of those that computed."""
    graph = () if engines.has_kernels(hp) and not request.backend else USED[_engine_name(request, hp)]
    names = dict.fromkeys(("pytensor", "numba", "numpy", *graph))
    return {"samplernn-theano": __version__} | {name: version(name) for name in names}


def _checkpoint(model: Saved) -> str:
    """The file, and what tells it from a later one of the same name: its iteration, and a hash."""
    progress = (model.checkpoint.progress if model.checkpoint else None) or {}
    made = f"iteration {progress['iteration']}, " if "iteration" in progress else ""
    return f"{model.path} ({made}{_digest(model).hexdigest()[:8]})"


def _digest(model: Saved) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for name in sorted(model.parameters):
        digest.update(name.encode() + np.ascontiguousarray(model.parameters[name]).tobytes())
    return digest


def _tags(path: Path, model: Saved, checkpoint: str, request: Request, i: int) -> dict[str, str]:
    """What a file says of itself. No date: the same command makes the same file."""
    parts = [
        f"{model.hp.family} {checkpoint}",
        f"seed {request.seed}, sequence {i}",
        f"temperature {request.temperature_of(i):g}",
    ]
    parts += [f"top-p {request.top_p:g}"] * (request.top_p < 1)
    parts += [_silence(request)] * bool(request.silent)
    if request.primes:
        parts.append(f"after {request.primes[i % len(request.primes)]}")
    return {"title": path.stem, "comment": "; ".join(parts), "software": f"samplernn-theano {__version__}"}


def _silence(request: Request) -> str:
    start, stop = (t / SAMPLE_RATE for t in (request.silent.start, request.silent.stop))
    return f"silence from {start:g} to {stop:g} s" if request.silent else ""


def _record(
    model: Saved,
    checkpoint: str,
    request: Request,
    wanted: Files,
    n_samples: int,
    sounds: Sequence[gallery.Sound],
) -> gallery.Record:
    like = f"; drawn and written as by the original, generation {request.generation}" * request.like_original
    return gallery.Record(
        stem=wanted.stem,
        checkpoint=checkpoint + like,
        family=model.hp.family,
        seed=ORIGINAL_SEED if request.like_original else request.seed,
        temperatures=tuple(request.temperature_of(i) for i in range(request.n_seqs)),
        top_p=request.top_p if request.top_p < 1 else None,
        seconds=n_samples / SAMPLE_RATE,
        backend=_engine_name(request, model.hp),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        versions=_versions(request, model.hp),
        silence=_silence(request),
        primes=tuple(f"after {request.primes[i % len(request.primes)].name}" for i in range(request.n_seqs))
        if request.primes
        else (),
        sounds=tuple(sounds),
    )
