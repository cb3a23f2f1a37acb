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

from samplernn_theano.backends.compile import default_backend
from samplernn_theano.backends.provenance import USED
from samplernn_theano.checkpoints.load import Saved
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.errors import OutputError
from samplernn_theano.evaluation import score
from samplernn_theano.generation import encoders, gallery, generate, like_original, partial, samplers
from samplernn_theano.generation.amplitudes import amplitudes, level
from samplernn_theano.generation.file_names import Files
from samplernn_theano.generation.generator import Generator
from samplernn_theano.generation.progress import BAR, clock, tell_primes
from samplernn_theano.generation.request import Request
from samplernn_theano.original.mrg31k3p import SEED as ORIGINAL_SEED
from samplernn_theano.utils import files, plotting
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.version import package_version

MINUTE = 60 * SAMPLE_RATE


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
            generator = generate.prepare(model, request, progress=True)
            tell_primes(request, generator, say)
            primes = [prime.samples for prime in generator.primes]
            longest = max(map(len, primes), default=0) if with_prime else 0
            encoders.check_size(wanted.sounds[0], longest + n_samples, wanted.float32)
            scorer = score.compile_scorer(model, request.backend) if rank else None
            at = partial.open_spool(wanted.spool, _identity(model, request, generator), generator, overwrite)
            _check_length(at, generator, n_samples, overwrite)
            n_generated = _fill(at, generator, n_samples)
            heard = [primes[i % len(primes)] for i in range(at.n_seqs)] if primes else []
            scores = _scores(scorer, at, n_samples, heard) if scorer else [None] * request.n_seqs
            sounds, checkpoint = [], _checkpoint(model)
            for i, (path, nll_bits) in enumerate(zip(wanted.sounds, scores, strict=True)):
                if request.like_original:
                    sound = _write_like_original(path, model.hp, partial.raw(at, i, n_samples))
                else:
                    before = [primes[i % len(primes)]] if with_prime and primes else []

                    def pieces(i: int = i, before: list[NDArray] = before) -> Iterator[NDArray]:
                        return chain(before, partial.pieces(at, i, n_samples))

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
            if not partial.is_begun(wanted.spool):
                partial.remove(wanted.spool)
    return Made(record, n_generated, took)


def _check_length(at: partial.Spool, generator: Generator, n_samples: int, overwrite: bool) -> None:
    """Raise OutputError if more is there of an unfinished generation than is asked for."""
    there = partial.position(at, generator)
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
    mean, scale = level(amplitudes(x, generator.hp) for x in pieces())

    def levelled() -> Iterator[NDArray[np.float32]]:
        start, silent = -n_before, generator.silent
        for samples in pieces():
            x = (amplitudes(samples, generator.hp) - mean) * scale
            x[max(0, silent.start - start) : max(0, silent.stop - start)] = 0
            start += len(x)
            yield x

    encoders.write(path, levelled(), tags, float32)
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
        plotting.spectrograms(wanted.sheet, {**beside, **shown})
    else:
        gallery.write_sheet(wanted.sheet, sounds)
    gallery.write_page(wanted.folder)


def _fill(at: partial.Spool, generator: Generator, n_samples: int) -> int:
    """`spool.fill` with a progress bar: seconds of sound, times real time, what is left.

    Returns how many samples of each sequence were generated.
    """
    start = partial.position(at, generator)
    first = min(start, n_samples)
    if start:
        print(f"Going on after {first / SAMPLE_RATE:.1f} s.", file=sys.stderr)
    with tqdm(total=n_samples, initial=first, **BAR) as bar:
        told = clock(bar, at.n_seqs)
        try:
            partial.fill(at, generator, n_samples, told)
        except (KeyboardInterrupt, SystemExit):
            bar.write("Stopped; the same command goes on from here.", file=sys.stderr)
            raise
    return max(0, n_samples - start)


def _scores(
    scorer: score.Scorer, at: partial.Spool, n_samples: int, primes: Sequence[NDArray]
) -> list[float]:
    """Bits per sample of what was generated of each sequence, after its prime, under the same model."""
    scores = []
    for i in tqdm(range(at.n_seqs), "score", unit=" sequences"):
        prime = primes[i] if primes else np.zeros(0, at.dtype)
        samples = np.concatenate([prime.astype(at.dtype), partial.raw(at, i, n_samples)])
        scores.append(score.score(scorer, samples, f"sequence {i}", raw=True, skip=len(prime)).bits)
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
    return request.backend or ("kernels" if samplers.has_kernels(hp) else default_backend())


def _versions(request: Request, hp: HyperParameters) -> dict[str, str]:
    """Of this package and of those that computed."""
    graph = () if samplers.has_kernels(hp) and not request.backend else USED[_engine_name(request, hp)]
    names = dict.fromkeys(("pytensor", "numba", "numpy", *graph))
    return {"samplernn-theano": package_version()} | {name: version(name) for name in names}


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
    return {
        "title": path.stem,
        "comment": "; ".join(parts),
        "software": f"samplernn-theano {package_version()}",
    }


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
