"""Samples of the evaluations of a run in training."""

from collections.abc import Sequence
from pathlib import Path

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.data.audio import write_wav
from samplernn_theano.generation import like_original
from samplernn_theano.generation.amplitudes import amplitudes, waveform
from samplernn_theano.generation.generator import BlockSampler, Generator, take
from samplernn_theano.generation.random_streams import NumpyStreams, TheanoStreams


def write(
    sampler: BlockSampler,
    hp: HyperParameters,
    n_samples: int,
    paths: Sequence[Path],
    seed: int,
    evaluation: int | None = None,
) -> None:
    """Generate a sequence for each path with the present parameters, and write it.

    With the number of an `evaluation` of the run, from 1, this is done as by the original. It seeds its
    random streams once per run, so they continue where those of the evaluation before ended.
    """
    n_seqs, start = sampler.n_seqs, sampler.start()
    if evaluation is None:
        generator = Generator(hp, sampler, NumpyStreams(seed, n_seqs), start)
        for path, samples in zip(paths, take(generator, n_samples), strict=True):
            write_wav(path, waveform(amplitudes(samples, hp)), hp.rate)
        return
    streams, n_drawn = TheanoStreams(n_seqs), max(0, n_samples - like_original.left_padding(hp))
    streams.skip(("uniforms",), (evaluation - 1) * n_drawn)
    generator = Generator(hp, sampler, streams, start, like_original.silenced(hp))
    for path, levels in zip(paths, take(generator, n_drawn), strict=True):
        like_original.write(path, levels, hp)
