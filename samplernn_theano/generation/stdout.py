"""Sound on standard output while it is made: for a player, or for a program that reads a pipe."""

import math
from collections.abc import Callable
from itertools import chain
from typing import BinaryIO

import numpy as np
import scipy
from tqdm import tqdm

from samplernn_theano.checkpoints.load import Saved
from samplernn_theano.generation import encoders, generate, partial
from samplernn_theano.generation.amplitudes import PEAK, amplitudes
from samplernn_theano.generation.generator import blocks
from samplernn_theano.generation.progress import BAR, clock, tell_primes
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

HIGH_PASS = 5.0
"""Hz below which an offset is taken out."""


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
    generator = generate.prepare(model, request)
    tell_primes(request, generator, say)
    prime = generator.primes[0].samples if request.primes and with_prime else np.zeros(0, np.int32)
    left = len(prime) + n_samples
    heard = (prime[start : start + partial.PIECE] for start in range(0, len(prime), partial.PIECE))
    made = (samples[0] for samples, _ in blocks(generator, generator.state))
    pole, memory = 1 - 2 * math.pi * HIGH_PASS / SAMPLE_RATE, np.zeros(1)
    with tqdm(total=left, disable=None, **BAR) as bar:  # if stderr is a terminal
        told = clock(bar, 1)
        for samples in chain(heard, made):
            x = amplitudes(samples[:left], model.hp)
            x, memory = scipy.signal.lfilter([1, -1], [1, -pole], x, zi=memory)
            out.write(encoders.pcm_16(x * PEAK / 2).astype("<i2").tobytes())
            out.flush()  # so that a player hears it at once
            left -= len(x)
            told(len(prime) + n_samples - left)
            if left <= 0:
                return
