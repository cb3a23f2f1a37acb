"""A checkpoint to a waveform."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pytensor.tensor.variable import TensorVariable as Expression
from tqdm import tqdm

from samplernn_theano import audio, models
from samplernn_theano.backend import compile_function
from samplernn_theano.hyperparameters import HyperParameters, Quantised
from samplernn_theano.parameters import Parameters
from samplernn_theano.quantize import dequantize

BLOCK = 4000  # samples per call of the compiled scan, about: a quarter of a second
PEAK = 0.9  # of what is written

# The paper's experiment: what does a model remember of the first two seconds after a third one of silence?
# The original's wavenet always generates like this.
INFORMATION_RETENTION = range(2 * audio.SAMPLE_RATE, 3 * audio.SAMPLE_RATE)


class Blocks(Protocol):
    """A compiled generator of sequences."""

    def __call__(self, seed: int, silent: range = ...) -> Iterator[NDArray]:
        """Yield blocks (n_seqs, block length) of levels, or of numbers of a real-valued family, without end.

        The samples at the positions `silent`, counted from the start, are silence, written out and fed back.
        """


def compile_sampler(
    params: Parameters, hp: HyperParameters, n_seqs: int, backend: str | None = None
) -> Blocks:
    """Compile a generator of `n_seqs` sequences at once.

    It reads the parameters as they are when each block is made.
    """
    sampler = models.sampler(params, hp, n_seqs, BLOCK)
    function = compile_function(
        sampler.inputs, [sampler.samples, *sampler.new_states.values()], backend=backend
    )
    (length,) = sampler.silent.type.shape

    def blocks(seed: int, silent: range = range(0)) -> Iterator[NDArray]:
        # A stream for each kind, so that what is drawn does not depend on the length of a block.
        streams = {"uniforms": np.random.default_rng(seed), "normals": np.random.default_rng((seed, 1))}
        states = sampler.zero_states()
        previous = np.full((n_seqs, hp.overlap), hp.silence, sampler.previous.dtype)
        for first in itertools.count(0, length):
            noise = [_noise(streams[name], name, values) for name, values in sampler.noise.items()]
            times = np.arange(first, first + length)
            silenced = ((times >= silent.start) & (times < silent.stop)).astype(np.int32)
            reset = np.asarray(first == 0, np.int32)
            samples, *states = function(*noise, silenced, previous, reset, *states)
            samples = np.asarray(samples)
            yield samples
            previous = np.concatenate([previous, samples], axis=1)[:, -hp.overlap :]

    return blocks


def _noise(rng: np.random.Generator, name: str, values: Expression) -> NDArray:
    shape = values.type.shape
    drawn = rng.random(shape, "f") if name == "uniforms" else rng.standard_normal(shape, "f")
    return drawn.astype(values.dtype, copy=False)


def take(blocks: Iterator[NDArray], n_samples: int, progress: bool = False) -> NDArray:
    """The first `n_samples` samples of every sequence, (n_seqs, n_samples)."""
    parts: list[NDArray] = []
    done = 0
    bar = tqdm(total=n_samples / audio.SAMPLE_RATE, unit=" s of sound", disable=not progress, **BAR)
    with bar:
        while done < n_samples:
            parts.append(next(blocks))
            new = min(parts[-1].shape[1], n_samples - done)
            done += new
            bar.update(new / audio.SAMPLE_RATE)
    return np.concatenate(parts, axis=1)[:, :n_samples]


BAR = {"bar_format": "{desc}{percentage:3.0f}% |{bar}| {n:.2f}/{total:.2f}{unit} [{elapsed}<{remaining}]"}


def waveform(samples: NDArray, hp: HyperParameters) -> NDArray[np.float32]:
    """What a model generated (samples,) as amplitudes: mean removed, the largest scaled to 0.9.

    A constant is silence.
    """
    if isinstance(hp, Quantised):
        x = dequantize(samples, hp.q_levels, hp.q_type)
    else:
        x = samples.astype(np.float32)
    x = x - x.mean(dtype=np.float64).astype(np.float32)
    peak = np.max(np.abs(x), initial=0.0)
    return x * np.float32(PEAK / peak) if peak > 1e-6 else np.zeros_like(x)


def write_sequences(paths: Sequence[Path], sequences: NDArray, hp: HyperParameters) -> None:
    """Write sequences (n_seqs, samples) to a wav file each.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    for path, sequence in zip(paths, sequences, strict=True):
        audio.write_wav(path, waveform(sequence, hp))
