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
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from tqdm import tqdm

from samplernn_theano import (
    __version__,
    audio,
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
from samplernn_theano.generation import Generator, Request
from samplernn_theano.hyperparameters import HyperParameters
from samplernn_theano.saved import Saved

HIGH_PASS = 5.0
"""Hz below which an offset is taken out of sound that is heard while it is made."""

BAR = "{desc}: {percentage:3.0f}% |{bar}| {n:.1f} of {total:.1f} s of sound [{elapsed}<{remaining}{postfix}]"


@dataclass(frozen=True)
class Files:
    """Where the sounds of a request go.

    Attributes
    ----------
    folder : Path
    stem : str
        What the names of all files begin with.
    sounds : sequence of Path
        One per sequence.
    float32 : bool
        32-bit floats in place of 16-bit integers.
    """

    folder: Path
    stem: str
    sounds: Sequence[Path]
    float32: bool

    @property
    def record(self) -> Path:
        """What the page says of them."""
        return self.folder / f"{self.stem}.json"

    @property
    def sheet(self) -> Path:
        """The picture of the spectrograms."""
        return self.folder / f"{self.stem}_spectrograms.png"

    @property
    def page(self) -> Path:
        """All that was generated into the folder."""
        return self.folder / gallery.PAGE

    @property
    def spool(self) -> Path:
        """The hidden folder of a generation under way."""
        return self.folder / f".{self.stem}.part"


@dataclass(frozen=True)
class Made:
    """What `produce` made, and how fast."""

    record: gallery.Record
    n_generated: int  # samples of each sequence that were generated now, not before an interruption
    seconds: float  # that this took, with compilation and writing


# --- names --------------------------------------------------------------------------------------------------


def default_folder(checkpoint: Path) -> Path:
    """The folder of sounds for a file of parameters: samples in the run it is of, or beside it."""
    in_run = checkpoint.parent.name in ("checkpoints", "params")
    return (checkpoint.resolve().parent.parent if in_run else checkpoint.parent) / "samples"


def name_files(model: Saved, request: Request, folder: Path, suffix: str, float32: bool) -> Files:
    """Names that tell the run, the checkpoint, the seed, the temperature, and what else is not usual."""
    path = model.path.resolve()
    # Checkpoints of ours bear the same names in every run. The original's tell; its runs' are long.
    run = f"{path.parent.parent.name[:40]}_" if path.parent.name == "checkpoints" else ""
    rest = f"_p{request.top_p:g}" * (request.top_p < 1)
    if request.silent:
        rest += f"_silence{request.silent.start / SAMPLE_RATE:g}-{request.silent.stop / SAMPLE_RATE:g}"
    first = f"{run}{path.stem}_seed{request.seed}"
    if request.like_original:
        stem = f"{run}{path.stem}_like-original_g{request.generation}"
        return Files(folder, stem, [folder / f"{stem}_{i}.wav" for i in range(request.n_seqs)], True)
    low, high = min(request.temperature), max(request.temperature)
    stem = f"{first}_t{low:g}" + f"-{high:g}" * (high > low) + rest
    primes = [path.stem[:40] for path in request.primes]
    if primes:
        stem += f"_after-{primes[0]}" + f"-and-{len(primes) - 1}" * (len(primes) > 1)
    names = []
    for i in range(request.n_seqs):
        after = f"_after-{primes[i % len(primes)]}" if primes else ""
        number = f"{i:0{len(str(request.n_seqs - 1))}d}"
        names.append(f"{first}_t{request.temperature_of(i):g}{rest}{after}_{number}.{suffix}")
    return Files(folder, stem, [folder / name for name in names], float32)


def make_way(wanted: Files, overwrite: bool) -> None:
    """See that the files can be written.

    Raises
    ------
    OutputError
        If one is there, or the folder is a file.
    """
    if wanted.folder.exists() and not wanted.folder.is_dir():
        raise OutputError(f"{wanted.folder} is a file; choose another folder with --out.")
    if overwrite or spool.is_begun(wanted.spool):  # some may be those of the generation that goes on
        return
    for path in (*wanted.sounds, wanted.record):  # the record may be of files of other names
        if path.exists():
            raise OutputError(f"{path} is there already; give --overwrite, or another --seed or --out.")


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
            generator = generation.prepare(model, request)
            _tell_primes(request, generator, say)
            primes = [prime.samples if with_prime else prime.samples[:0] for prime in generator.primes]
            longest = max((len(prime) for prime in primes), default=0)
            sound_files.check_size(wanted.sounds[0], longest + n_samples, wanted.float32)
            scorer = scoring.compile_scorer(model, request.backend) if rank else None
            at = spool.open_spool(wanted.spool, _identity(model, request, generator), generator, overwrite)
            n_generated = _fill(at, generator, n_samples)
            scores = _scores(scorer, at, n_samples) if scorer else [None] * request.n_seqs
            sounds = []
            for i, (path, nll_bits) in enumerate(zip(wanted.sounds, scores, strict=True)):
                if request.like_original:
                    sound = _write_like_original(path, model.hp, spool.raw(at, i, n_samples))
                else:
                    before = primes[i % len(primes)] if primes else np.zeros(0, np.int32)
                    sound = _write(path, model, request, wanted.float32, i, before, at, n_samples)
                sounds.append(replace(sound, nll_bits=nll_bits))
            record = _record(model, request, wanted, n_samples, sounds)
            gallery.write_record(wanted.folder, record)
            took = time.perf_counter() - began
            draw(wanted, record, beside or {})
            at.request.unlink()  # done
        finally:
            if not spool.is_begun(wanted.spool):
                spool.remove(wanted.spool)
    return Made(record, n_generated, took)


def _remove_half_written(wanted: Files) -> None:
    """What a process that was killed left of these files (`files.atomic_write`): it may be gigabytes."""
    ours = {path.name for path in (*wanted.sounds, wanted.record, wanted.sheet)}
    for path in wanted.folder.glob(".*.part.*"):
        found = re.fullmatch(r"\.(.+)\.\d+\.part(\.\w+)", path.name)
        if found and found[1] + found[2] in ours:
            path.unlink(missing_ok=True)


def _write(
    path: Path, model: Saved, request: Request, float32: bool, i: int, prime: NDArray, at: spool.Spool, n: int
) -> gallery.Sound:
    """Write sequence i, in pieces: without its mean, its largest magnitude 0.9."""

    def amplitudes() -> Iterator[NDArray[np.float32]]:
        for samples in chain([prime], spool.pieces(at, i, n)):
            if len(samples):
                yield generation.amplitudes(samples, model.hp)

    mean, scale = generation.level(amplitudes())
    tags = _tags(path, model, request, i)
    sound_files.write(path, ((x - mean) * scale for x in amplitudes()), tags, float32)
    return _measured(path, ((x - mean) * scale for x in amplitudes()))


def _write_like_original(path: Path, hp: HyperParameters, levels: NDArray) -> gallery.Sound:
    amplitudes = like_original.write(path, levels, hp)
    return _measured(path, iter([np.nan_to_num(amplitudes)]))  # quirk: a constant is NaN in the file


def draw(wanted: Files, record: gallery.Record, beside: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the spectrogram sheet and the page of the folder.

    With recordings to compare with, the sheet also shows mean spectra; of each sound the first minute.
    """
    sounds = {sound.file: wanted.folder / sound.file for sound in record.sounds}
    if beside:
        shown = {name: audio.read_mono(path) for name, path in list(sounds.items())[: gallery.SHOWN]}
        minute = {name: x[: 60 * SAMPLE_RATE] for name, x in {**beside, **shown}.items()}
        plots.spectrograms(wanted.sheet, minute)
    else:
        gallery.write_sheet(wanted.sheet, sounds)
    gallery.write_page(wanted.folder)


def _tell_primes(request: Request, generator: Generator, say: Callable[[str], object]) -> None:
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
    total, start = n_samples / SAMPLE_RATE, spool.position(at, generator)
    first = min(start / SAMPLE_RATE, total)
    if start:
        print(f"Going on after {first:.1f} s.", file=sys.stderr)
    began = time.perf_counter()
    with tqdm(total=total, initial=first, bar_format=BAR, desc="generate") as bar:

        def told(position: int) -> None:
            speed = (position - start) / SAMPLE_RATE / (time.perf_counter() - began)
            bar.set_postfix_str(f"{speed * at.n_seqs:.2f} x real time", refresh=False)
            bar.update(min(position / SAMPLE_RATE, total) - bar.n)

        try:
            spool.fill(at, generator, n_samples, told)
        except (KeyboardInterrupt, SystemExit):
            bar.write("Stopped; the same command goes on from here.", file=sys.stderr)
            raise
    return max(0, n_samples - start)


def _scores(scorer: scoring.Scorer, at: spool.Spool, n_samples: int) -> list[float]:
    """Bits per sample of each sequence under the model that generated it."""
    names = [f"sequence {i}" for i in range(at.n_seqs)]
    raw = (spool.raw(at, i, n_samples) for i in range(at.n_seqs))
    return [
        scoring.score(scorer, x, name, raw=True).bits
        for name, x in zip(tqdm(names, "score", unit=" sequences"), raw, strict=True)
    ]


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
    digest = hashlib.sha256()
    for name in sorted(model.parameters):
        digest.update(name.encode() + np.ascontiguousarray(model.parameters[name]).tobytes())
    for prime in generator.primes:
        digest.update(prime.samples.tobytes())
    settings = asdict(request) | {"primes": [str(p) for p in request.primes]}
    settings["silent"] = [request.silent.start, request.silent.stop]
    return {"hyper_parameters": asdict(model.hp), "arrays": digest.hexdigest(), "request": settings}


def _engine_name(request: Request, hp: HyperParameters) -> str:
    return request.backend or ("kernels" if engines.has_kernels(hp) else default_backend())


def _tags(path: Path, model: Saved, request: Request, i: int) -> dict[str, str]:
    """What a file says of itself. No date: the same command makes the same file."""
    parts = [
        f"{model.hp.family} {model.path}",
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
    model: Saved, request: Request, wanted: Files, n_samples: int, sounds: Sequence[gallery.Sound]
) -> gallery.Record:
    names = ("samplernn-theano", "pytensor", "numba", "numpy")
    return gallery.Record(
        stem=wanted.stem,
        checkpoint=str(model.path),
        family=model.hp.family,
        seed=request.seed,
        temperatures=tuple(request.temperature_of(i) for i in range(request.n_seqs)),
        top_p=request.top_p if request.top_p < 1 else None,
        seconds=n_samples / SAMPLE_RATE,
        backend=_engine_name(request, model.hp),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        versions={name: version(name) for name in names},
        silence=_silence(request),
        primes=tuple(f"after {request.primes[i % len(request.primes)].name}" for i in range(request.n_seqs))
        if request.primes
        else (),
        sounds=tuple(sounds),
    )


# --- standard output ----------------------------------------------------------------------------------------


def stream(
    model: Saved,
    request: Request,
    n_samples: int,
    out: BinaryIO,
    with_prime: bool = True,
    say: Callable[[str], object] = print,
) -> None:
    """Write the one sequence of a request to `out` while it is made, as raw PCM: int16, little-endian.

    A prime is written first, where `with_prime`. The mean is not known yet, so an offset is taken out by a
    high-pass filter at 5 Hz; a fixed factor of 0.45 keeps what the filter may make larger within 0.9 of full
    scale.
    """
    generator = generation.prepare(model, request)
    _tell_primes(request, generator, say)
    prime = generator.primes[0].samples if request.primes and with_prime else np.zeros(0, np.int32)
    left = len(prime) + n_samples
    heard = (prime[start : start + spool.PIECE] for start in range(0, len(prime), spool.PIECE))
    made = (samples[0] for samples, _ in generation.blocks(generator, generator.state))
    pole, memory = 1 - 2 * math.pi * HIGH_PASS / SAMPLE_RATE, np.zeros(1)
    for samples in chain(heard, made):
        x = generation.amplitudes(samples[:left], model.hp)
        x, memory = lfilter([1, -1], [1, -pole], x, zi=memory)
        out.write(sound_files.pcm_16(x * generation.PEAK / 2).astype("<i2").tobytes())
        out.flush()  # so that a player hears it at once
        left -= len(x)
        if left <= 0:
            return
