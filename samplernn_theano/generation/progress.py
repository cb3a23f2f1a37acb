"""Progress of a generation, and notes on its primes."""

import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from samplernn_theano.generation.generator import Generator
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

BAR_OPTIONS: dict[str, Any] = {
    "desc": "generate",
    "bar_format": "{desc}: {percentage:3.0f}% |{bar}| {n:.1f} of {total:.1f} s of sound "
    "[{elapsed}<{remaining}{postfix}]",
    "unit_scale": 1 / SAMPLE_RATE,  # it counts samples and shows seconds
}
"""tqdm options of the progress bar of a generation."""


def progress_callback(bar: tqdm, n_seqs: int) -> Callable[[int], None]:
    """Callback that moves `bar` to a number of samples and shows the speed.

    The speed leaves out the first block, which may include compilation.
    """
    first: tuple[int, float] | None = None

    def on_progress(position: int) -> None:
        nonlocal first
        now = time.perf_counter()
        if first is None:
            first = position, now
        elif now > first[1]:
            speed = (position - first[0]) / SAMPLE_RATE / (now - first[1])
            bar.set_postfix_str(f"{speed * n_seqs:.2f} x real time", refresh=False)
        bar.update(min(position, bar.total) - bar.n)

    return on_progress


def report_primes(request: Request, generator: Generator, log: Callable[[str], object]) -> None:
    """Log which primes were resampled, and which are shorter than the context of the model."""
    for path, prime in zip(request.primes, generator.primes, strict=True):
        if prime.file_rate != SAMPLE_RATE:
            log(f"{path}: {prime.file_rate:,} Hz resampled to {SAMPLE_RATE:,} Hz")
        if prime.too_short:
            log(
                f"{path} has {len(prime.samples)} samples, the context of the model is "
                f"{generator.hp.overlap}: it is padded with silence on the left"
            )
