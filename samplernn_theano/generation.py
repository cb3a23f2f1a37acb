"""A checkpoint to a waveform."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano import audio, checkpoints
from samplernn_theano.backend import compile_function
from samplernn_theano.errors import CheckpointError
from samplernn_theano.hyperparameters import ThreeTier
from samplernn_theano.models import three_tier
from samplernn_theano.parameters import Parameters
from samplernn_theano.quantize import dequantize

BLOCK = 4000  # samples per call of the compiled scan, about: a quarter of a second
PEAK = 0.9  # of what is written

Blocks = Callable[[int], Iterator[NDArray[np.int32]]]


def compile_sampler(params: Parameters, hp: ThreeTier, n_seqs: int, backend: str | None = None) -> Blocks:
    """Compile a generator of `n_seqs` sequences at once.

    The returned function takes a seed and yields levels, int32 (n_seqs, block), without end. It reads the
    parameters as they are when each block is made.
    """
    n_big_frames = max(1, BLOCK // hp.big_frame_size)
    sampler = three_tier.sampler(params, hp, n_seqs, n_big_frames)
    function = compile_function(
        sampler.inputs, [sampler.samples, *sampler.new_states.values()], backend=backend
    )

    def blocks(seed: int) -> Iterator[NDArray[np.int32]]:
        rng = np.random.default_rng(seed)
        states = [np.zeros(state.type.shape, state.dtype) for state in sampler.states.values()]
        previous = np.full((n_seqs, hp.overlap), hp.q_zero, np.int32)
        reset = np.asarray(1, np.int32)
        while True:
            uniforms = rng.random(sampler.uniforms.type.shape, np.float32).astype(params.dtype, copy=False)
            samples, *states = function(uniforms, previous, reset, *states)
            samples = np.asarray(samples)
            yield samples
            previous, reset = np.ascontiguousarray(samples[:, -hp.overlap :]), np.asarray(0, np.int32)

    return blocks


def take(blocks: Iterator[NDArray[np.int32]], n_samples: int, progress: bool = False) -> NDArray[np.int32]:
    """The first `n_samples` levels of every sequence, (n_seqs, n_samples)."""
    parts: list[NDArray[np.int32]] = []
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


def load_model(path: str | Path) -> tuple[Parameters, ThreeTier]:
    """Parameters and hyper-parameters of a checkpoint, checked against each other.

    Raises
    ------
    CheckpointError
        If it cannot be read, lacks a parameter, has one too many or one of another shape, or holds a value
        that is not finite.
    """
    checkpoint = checkpoints.load(path)
    for name, value in checkpoint.parameters.items():
        if not np.isfinite(value).all():
            raise CheckpointError(
                f"Parameter {name} of {path} holds values that are not finite; use another one."
            )
    params = Parameters(seed=None, values=checkpoint.parameters)
    three_tier.graph(params, checkpoint.hp)  # builds every parameter and so checks its name and shape
    params.check_all_used()
    return params, checkpoint.hp


def waveform(levels: NDArray[np.int32], hp: ThreeTier) -> NDArray[np.float32]:
    """Levels (samples,) to amplitudes: mean removed, the largest scaled to 0.9; a constant is silence."""
    x = dequantize(levels, hp.q_levels, hp.q_type)
    x = x - x.mean(dtype=np.float64).astype(np.float32)
    peak = np.max(np.abs(x), initial=0.0)
    return x * np.float32(PEAK / peak) if peak > 1e-6 else np.zeros_like(x)


def write_sequences(folder: str | Path, stem: str, levels: NDArray[np.int32], hp: ThreeTier) -> list[Path]:
    """Write levels (n_seqs, samples) as FOLDER/STEM_0.wav, STEM_1.wav, ... and return the paths.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    paths = [Path(folder) / f"{stem}_{i}.wav" for i in range(len(levels))]
    for path, sequence in zip(paths, levels, strict=True):
        audio.write_wav(path, waveform(sequence, hp))
    return paths
