"""Sound on standard output as it is generated: for a player, or a program that reads a pipe."""

import math
from collections.abc import Callable
from itertools import chain
from typing import BinaryIO

import numpy as np
import scipy

from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.generation import encoders, generate
from samplernn_theano.generation.amplitudes import PEAK, amplitudes
from samplernn_theano.generation.generator import blocks, progress_bar
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

HIGH_PASS = 5.0
"""Cutoff in Hz of the filter that removes an offset."""


def stream(
    model: LoadedModel,
    request: Request,
    n_samples: int,
    out: BinaryIO,
    with_prime: bool = True,
    log: Callable[[str], object] = print,
) -> None:
    """Write the one sequence of a request to `out` as it is generated, as raw PCM: int16, little-endian.

    The prime comes first if `with_prime`. As the mean is not known yet, a high-pass filter at 5 Hz removes an
    offset; a fixed factor of 0.45 leaves headroom for what the filter amplifies.
    """
    generator = generate.prepare_generator(model, request, log=log)
    primes = list(generator.primes) if with_prime else []
    left = n_samples + sum(map(len, primes))
    generated = (samples[0] for samples, _ in blocks(generator, generator.state))
    pole, memory = 1 - 2 * math.pi * HIGH_PASS / SAMPLE_RATE, np.zeros(1)
    with progress_bar(left, disable=None) as bar:
        for samples in chain(primes, generated):
            x = amplitudes(samples[:left], model.hp)
            x, memory = scipy.signal.lfilter([1, -1], [1, -pole], x, zi=memory)
            out.write(encoders.pcm_16(x * PEAK / 2).astype("<i2").tobytes())
            out.flush()  # so that a player plays it immediately
            left -= len(x)
            bar.update(len(x))
            if left <= 0:
                return
