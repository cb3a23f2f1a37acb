"""Writing a generation: to a folder, as sound files, their record, a figure and the page; or to a pipe."""

import hashlib
import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray

from samplernn_theano.backends.compile import default_backend
from samplernn_theano.backends.provenance import PACKAGES
from samplernn_theano.checkpoints import pretrained
from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.config.hyperparameters import HyperParameters, to_store
from samplernn_theano.data.doubts import MIN_PEAK
from samplernn_theano.errors import OutputError
from samplernn_theano.evaluation import nll
from samplernn_theano.generation import encoders, gallery, generate, like_original, spectrograms
from samplernn_theano.generation.amplitudes import PEAK, amplitudes, mean_and_scale
from samplernn_theano.generation.gallery import Record, Sound
from samplernn_theano.generation.generator import Generator, blocks
from samplernn_theano.generation.kernels import FAMILIES
from samplernn_theano.generation.partial import PartialOutput, is_unfinished
from samplernn_theano.generation.request import Request
from samplernn_theano.original.mrg31k3p import SEED as ORIGINAL_SEED
from samplernn_theano.utils import files, plotting
from samplernn_theano.utils.progress import counted, progress_bar
from samplernn_theano.utils.signal_handling import handle_signals
from samplernn_theano.utils.version import package_version

MINUTE = 60  # seconds
HIGH_PASS = 5.0  # Hz: cutoff of the filter that removes an offset


class OutputFiles:
    """Files that a request writes into `folder`; all their names begin with `stem`."""

    def __init__(self, folder: Path, stem: str, sounds: Sequence[Path]) -> None:
        self.folder, self.stem, self.sounds = folder, stem, sounds  # one sound per sequence
        self.record = folder / f"{stem}.json"
        self.figure = folder / f"{stem}_spectrograms.png"
        self.partial_folder = folder / f".{stem}.part"
        self.done_folder = folder / f".{stem}.done"  # the former, as soon as all files are in their places


def default_folder(checkpoint: Path) -> Path:
    """Samples in the run of a checkpoint, or next to it; for a model of the package in the current folder."""
    if pretrained.is_included(checkpoint):
        return Path("samples")
    folder = checkpoint.parent if checkpoint.parent.name else checkpoint.resolve().parent
    return (folder.parent if folder.name in ("checkpoints", "params") else folder) / "samples"


def name_files(model: LoadedModel, request: Request, folder: Path, suffix: str) -> OutputFiles:
    """Name the output files of a request."""
    path = model.path.resolve()
    # Our checkpoints have the same names in every run; the original's are unique, and its run names long.
    run = f"{path.parent.parent.name[:40]}_" if path.parent.name == "checkpoints" else ""
    if request.like_original:
        stem = f"{run}{path.stem}_like-original_g1"
        return OutputFiles(folder, stem, [folder / f"{stem}_{i}.wav" for i in range(request.n_seqs)])
    first = f"{run}{path.stem}_seed{request.seed}"
    rest = f"_p{request.top_p:g}" * (request.top_p < 1)
    if request.silent:
        rest += f"_silence{request.silent.start / model.hp.rate:g}-{request.silent.stop / model.hp.rate:g}"
    low, high = min(request.temperature), max(request.temperature)
    stem = f"{first}_t{low:g}" + f"-{high:g}" * (high > low) + rest
    primes = [prime.stem for prime in request.primes]
    if primes:
        stem += f"_after-{primes[0]}" + f"-and-{len(primes) - 1}" * (len(primes) > 1)
    sounds = []
    for i, temperature in enumerate(request.temperatures):
        after = f"_after-{primes[i % len(primes)]}" if primes else ""
        number = f"{i:0{len(str(request.n_seqs - 1))}d}"
        sounds.append(folder / f"{first}_t{temperature:g}{rest}{after}_{number}.{suffix}")
    return OutputFiles(folder, stem, sounds)


def check_overwrite(output: OutputFiles, overwrite: bool) -> None:
    """Raise OutputError if the folder is a file, or a file of the output exists, unless `overwrite`."""
    if output.folder.exists() and not output.folder.is_dir():
        raise OutputError(f"{output.folder} is a file; choose another folder with --out.")
    gallery.check_page(output.folder)
    shutil.rmtree(output.done_folder, ignore_errors=True)  # of a process that was killed there
    if overwrite or is_unfinished(output.partial_folder):  # some files may be its own
        return
    for path in (*output.sounds, output.record):  # the record may be of files with other names
        if path.exists():
            raise OutputError(f"{path} already exists; give --overwrite, or another --seed or --out.")


def write_samples(
    model: LoadedModel,
    request: Request,
    output: OutputFiles,
    n_samples: int,
    *,
    float32: bool = False,
    overwrite: bool = False,
    with_prime: bool = True,
    rank: bool = False,
    reference: Mapping[str, NDArray[np.float32]] | None = None,
    log: Callable[[str], object] = print,
) -> tuple[Record, int, float]:
    """Generate, or resume an interrupted generation; write the sounds, their record and the page.

    All files are written into the hidden folder of the partial output, and moved when they are complete. With
    `reference` recordings the figure shows the first minute of each sound, and mean spectra. Returned are the
    record, the number of samples of each sequence that this call generated, and its seconds.
    """
    began, hidden = time.perf_counter(), output.partial_folder
    with files.locked(hidden):  # creates the folders, and fails early if it cannot
        try:
            log(f"Preparing {model.hp.family} ... (longer the first time)")
            generator = generate.prepare_generator(model, request, progress=True, log=log)
            primes = generator.primes
            longest = max(map(len, primes), default=0) if with_prime else 0
            encoders.check_size(output.sounds[0], longest + n_samples, float32, model.hp.rate)
            scorer = nll.compile_scorer(model, request.backend, for_recordings=True) if rank else None
            digest = hashlib.sha256()
            for name in sorted(model.parameters):
                digest.update(name.encode() + np.ascontiguousarray(model.parameters[name]).tobytes())
            record = _record(model, request, output, n_samples, digest.hexdigest()[:8])
            for prime in primes:
                digest.update(prime.tobytes())
            identity: dict[str, Any] = {"hyper_parameters": to_store(model.hp), "request": asdict(request)}
            identity |= {"arrays": digest.hexdigest(), "block": generator.sampler.length}
            text = json.dumps(identity, default=str, sort_keys=True)
            unfinished = PartialOutput(hidden, text, generator, overwrite)
            n_generated = _fill(unfinished, n_samples, generator, overwrite)
            sounds = []
            for i, path in enumerate(counted(output.sounds, "score", request.n_seqs, "sequences", rank)):
                prime = primes[i % len(primes)] if primes else np.zeros(0, unfinished.dtype)
                target, generated = hidden / path.name, partial(unfinished.segments, i, n_samples)
                if request.like_original:
                    x = like_original.write(target, unfinished.sequence(i, n_samples), model.hp)
                    sound = _measure(
                        path.name, iter([np.nan_to_num(x)]), model.hp.rate
                    )  # quirk: a constant is NaN
                else:
                    comment, before = gallery.describe(record, i), prime if with_prime else prime[:0]
                    sound = _write(target, comment, float32, generator, before, generated)
                if scorer and is_near_silent(own := unfinished.sequence(i, n_samples), model.hp):
                    sound = replace(sound, near_silent=True)
                elif scorer:
                    raw = np.concatenate([prime.astype(unfinished.dtype), own])
                    scored = nll.score_recording(scorer, raw, f"sequence {i}", raw=True, skip=len(prime))
                    sound = replace(sound, nll_bits=scored.bits)
                sounds.append(sound)
            record = replace(record, sounds=tuple(sounds))
            duration = time.perf_counter() - began
            written = [hidden / path.name for path in output.sounds]
            drawn = [output.figure]
            try:
                _draw(hidden / output.figure.name, written, reference, model.hp.rate)
            except Exception as error:  # the sounds are there
                log(f"Warning: {output.figure} was not drawn ({type(error).__name__}: {error}).")
                drawn.clear()
                output.figure.unlink(missing_ok=True)  # of the sounds that are replaced
            gallery.write_record(hidden, record)
            replaced = [old.sounds for old in gallery.read_records(output.folder) if old.stem == output.stem]
            for path in (*output.sounds, *drawn, output.record):
                files.atomic_replace(hidden / path.name, path)
            for path in {output.folder / sound.file for sound in chain(*replaced)} - set(output.sounds):
                path.unlink(missing_ok=True)
            gallery.write_page(output.folder)
        except BaseException:
            if not is_unfinished(hidden):
                shutil.rmtree(hidden, ignore_errors=True)
            raise
        os.replace(hidden, output.done_folder)  # in one step: it is either resumed or complete
        shutil.rmtree(output.done_folder, ignore_errors=True)
    return record, n_generated, duration


def _fill(unfinished: PartialOutput, n_samples: int, generator: Generator, overwrite: bool) -> int:
    """Generate with a progress bar; return the number of samples of each sequence generated."""
    start, rate = unfinished.position, generator.hp.rate
    if start >= n_samples + generator.sampler.length and not overwrite:
        raise OutputError(
            f"An unfinished generation of this name has {start / rate:.1f} s already; give --seconds "
            f"{math.ceil(start / rate)} or more, or --overwrite, which discards the rest."
        )
    first = min(start, n_samples)
    if start:
        print(f"Resuming after {first / rate:.1f} s.", file=sys.stderr)
    signals: list[int] = []  # Ctrl-C or SIGTERM: the block is completed and saved
    with (
        handle_signals(signals.append),
        progress_bar("generate", n_samples / rate, "s of sound") as bar,
    ):
        bar.begin(first / rate)

        def on_block(position: int) -> bool:
            bar.at(min(position, n_samples) / rate)
            return bool(signals)

        unfinished.fill(n_samples, on_block)
    if signals:
        print("Interrupted; run the same command again to resume.", file=sys.stderr)
        raise KeyboardInterrupt if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])
    return n_samples - first


def _write(
    path: Path,
    comment: str,
    float32: bool,
    generator: Generator,
    before: NDArray,
    generated: Callable[[], Iterator[NDArray]],
) -> Sound:
    """Write a prime and the segments after it, mean removed, with a peak of 0.9; silenced samples are 0."""
    hp, silent = generator.hp, generator.silent

    def segments() -> Iterator[NDArray]:
        return chain([before] if len(before) else [], generated())

    mean, scale = mean_and_scale(amplitudes(x, hp) for x in segments())

    def normalised() -> Iterator[NDArray[np.float32]]:
        start = -len(before)
        for samples in segments():
            x = (amplitudes(samples, hp) - mean) * scale
            x[max(0, silent.start - start) : max(0, silent.stop - start)] = 0
            start += len(x)
            yield x

    encoders.write(path, normalised(), {"title": path.stem, "comment": comment}, float32, hp.rate)
    return _measure(path.name, normalised(), hp.rate)


def _measure(name: str, segments: Iterator[NDArray[np.float32]], rate: int) -> Sound:
    peak, squares, n = 0.0, 0.0, 0
    for x in segments:
        peak = max(peak, float(np.abs(x).max()))
        squares, n = squares + float(np.square(x, dtype=np.float64).sum()), n + len(x)
    rms = 10 * math.log10(squares / n) if squares else None
    return Sound(file=name, peak=peak, rms_dbfs=rms, seconds=n / rate)


def is_near_silent(samples: NDArray, hp: HyperParameters) -> bool:
    """True if three quarters of a sequence, (samples,), are within MIN_PEAK of its median.

    Silence has the best score of all, also after a click.
    """
    x = amplitudes(samples, hp)
    return bool(np.quantile(np.abs(x - np.median(x)), 0.75) < MIN_PEAK)


def _draw(
    figure: Path, sounds: list[Path], reference: Mapping[str, NDArray[np.float32]] | None, rate: int
) -> None:
    if reference:
        first = sounds[: spectrograms.MAX_SOUNDS]
        shown = {path.name: soundfile.read(path, MINUTE * rate, dtype="float32")[0] for path in first}
        plotting.spectrograms(figure, {**reference, **shown}, rate)
    else:
        plotting.save_figure(figure, spectrograms.draw_figure({path.name: path for path in sounds}))


def stream(
    model: LoadedModel,
    request: Request,
    n_samples: int,
    out: BinaryIO,
    with_prime: bool = True,
    log: Callable[[str], object] = print,
) -> None:
    """Write the one sequence of a request to `out` as it is generated, as raw PCM: int16, little-endian.

    As the mean is not known yet, a high-pass filter at 5 Hz removes an offset; a fixed factor of 0.45 leaves
    headroom for what the filter amplifies. The end of a pipe's reader is that of the sound as well; raises
    OutputError if the sound cannot be written for another reason.
    """
    generator = generate.prepare_generator(model, request, log=log)
    primes = list(generator.primes) if with_prime else []
    left, rate = n_samples + sum(map(len, primes)), model.hp.rate
    generated = (samples[0] for samples, _ in blocks(generator, generator.state))
    pole, memory = 1 - 2 * math.pi * HIGH_PASS / rate, np.zeros(1)
    with progress_bar("generate", left / rate, "s of sound") as bar:
        for samples in chain(primes, generated):
            x = amplitudes(samples[:left], model.hp)
            x, memory = scipy.signal.lfilter([1, -1], [1, -pole], x, zi=memory)
            try:
                out.write(encoders.pcm_16(x * PEAK / 2).astype("<i2").tobytes())
                out.flush()  # so that a player plays it immediately
            except BrokenPipeError:  # the player has ended
                return
            except OSError as error:
                raise OutputError(f"The sound could not be written: {error.strerror}.") from error
            left -= len(x)
            bar.advance(len(x) / rate)
            if left <= 0:
                return


def _record(model: LoadedModel, request: Request, output: OutputFiles, n_samples: int, digest: str) -> Record:
    graph = request.backend or not isinstance(model.hp, FAMILIES)
    backend = request.backend or (default_backend() if graph else "kernels")
    packages = ("pytensor", "numpy", *PACKAGES[backend if graph else "numba"])
    progress = (model.checkpoint.progress if model.checkpoint else None) or {}
    iteration = f"iteration {progress['iteration']}, " if "iteration" in progress else ""
    checkpoint = f"{model.path} ({iteration}{digest})"
    primes = [f"after {prime.describe(prime.path.name)}" for prime in request.primes]
    start, stop = request.silent.start / model.hp.rate, request.silent.stop / model.hp.rate
    return Record(
        stem=output.stem,
        checkpoint=checkpoint + "; drawn and written as by the original" * request.like_original,
        family=model.hp.family,
        seed=ORIGINAL_SEED if request.like_original else request.seed,
        temperatures=request.temperatures,
        top_p=request.top_p if request.top_p < 1 else None,
        seconds=n_samples / model.hp.rate,
        backend=backend,
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        versions={"samplernn-theano": package_version()} | {name: version(name) for name in packages},
        silence=f"silence from {start:g} to {stop:g} s" if request.silent else "",
        primes=tuple(primes[i % len(primes)] for i in range(request.n_seqs)) if primes else (),
    )
