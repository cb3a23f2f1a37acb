"""The progress of a generation, and what it reports of its primes."""

import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from samplernn_theano.generation.generator import Generator
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

BAR: dict[str, Any] = {
    "desc": "generate",
    "bar_format": "{desc}: {percentage:3.0f}% |{bar}| {n:.1f} of {total:.1f} s of sound "
    "[{elapsed}<{remaining}{postfix}]",
    "unit_scale": 1 / SAMPLE_RATE,  # it counts samples and shows seconds
}
"""Options of the progress bar of a generation."""


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
