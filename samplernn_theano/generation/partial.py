"""Partial output of a generation, written block by block, from which an interrupted one resumes exactly.

Sound files are written at the end: only then are the mean of a sequence and its largest magnitude known.
"""

import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import Quantised
from samplernn_theano.errors import OutputError
from samplernn_theano.generation.generator import Generator, State, blocks
from samplernn_theano.utils import files

SEGMENT = 2**16  # samples of a sequence read at once
SAVE_SECONDS = 10.0  # between saves of the state: at most this much is generated again after a kill
STATE = "state.npz"


def is_unfinished(folder: Path) -> bool:
    """True if `folder` holds an unfinished generation."""
    return (folder / STATE).exists()


class PartialOutput:
    """The samples of an unfinished generation, in the existing `folder`.

    ``samples`` holds consecutive blocks (n_seqs, length) of levels or real numbers; ``state.npz`` holds the
    request (all that the samples depend on), the number of samples of each sequence, and the model's state.
    `overwrite` discards the generation of another request, or a damaged one.
    """

    def __init__(self, folder: Path, request: str, generator: Generator, overwrite: bool) -> None:
        self._samples, self._state = folder / "samples", folder / STATE
        self._request, self._generator = request, generator
        self._reached: tuple[int, State] = 0, generator.state
        self._length = generator.sampler.length
        hp = generator.hp
        levels = np.int16 if isinstance(hp, Quantised) and hp.q_levels <= 2**15 else np.int32
        self.dtype = np.dtype(levels if isinstance(hp, Quantised) else np.float32)
        self._block_bytes = generator.sampler.n_seqs * self._length * self.dtype.itemsize
        if is_unfinished(folder) and (problem := self._load()):
            if not overwrite:
                raise OutputError(
                    f"The unfinished generation in {folder} {problem}; give --overwrite to start again."
                )
            self._state.unlink()

    @property
    def position(self) -> int:
        """Number of samples of each sequence generated so far."""
        return self._reached[0]

    def fill(self, n_samples: int, on_block: Callable[[int], object] = lambda _: None) -> None:
        """Generate until each sequence has `n_samples` samples.

        `on_block` is called with their number after every block; if it returns true, generation stops there.
        """
        generator, (start, state) = self._generator, self._reached
        generator.streams.skip(generator.sampler.noise, start)
        n_blocks = max(0, math.ceil((n_samples - start) / self._length))
        try:
            with open(self._samples, "ab") as file:
                file.truncate(start // self._length * self._block_bytes)
                stored, saved = start, time.monotonic()
                try:
                    for samples, after in islice(blocks(generator, state, start), n_blocks):
                        file.write(np.ascontiguousarray(samples, self.dtype).tobytes())
                        self._reached = self.position + self._length, after
                        if on_block(self.position):
                            break
                        if time.monotonic() - saved > SAVE_SECONDS:
                            self._save(file)
                            stored, saved = self.position, time.monotonic()
                finally:  # also after an error
                    if self.position > stored:
                        self._save(file)
        except OSError as error:
            raise OutputError(files.write_error_message(self._samples, error)) from error

    def segments(self, sequence: int, n_samples: int) -> Iterator[NDArray]:
        """First `n_samples` raw samples of a sequence, in consecutive segments (samples,)."""
        n_blocks = math.ceil(n_samples / self._length)
        at_once = max(1, SEGMENT // self._length)
        for first in range(0, n_blocks, at_once):
            shape = (min(at_once, n_blocks - first), self._generator.sampler.n_seqs, self._length)
            mapped = np.memmap(self._samples, self.dtype, "r", first * self._block_bytes, shape)
            yield np.array(mapped[:, sequence]).ravel()[: n_samples - first * self._length]

    def sequence(self, sequence: int, n_samples: int) -> NDArray:
        """First `n_samples` raw samples of a sequence, (n_samples,): levels or normalised numbers."""
        return np.concatenate(list(self.segments(sequence, n_samples)))

    def _load(self) -> str:
        """Read the state; return why the generation cannot be continued, or an empty text."""
        try:
            with np.load(self._state, allow_pickle=False) as stored:
                state = {name: stored[name] for name in stored.files}
            request, position = str(state.pop("request")), int(state.pop("position"))
            if request != self._request:
                return "is of another model or other settings"
            complete = self._samples.stat().st_size >= position // self._length * self._block_bytes
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
            return "is damaged"
        shapes, expected = ({k: x.shape for k, x in s.items()} for s in (state, self._reached[1]))
        if not complete or shapes != expected:
            return "is damaged"
        self._reached = position, state
        return ""

    def _save(self, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())
        position, state = self._reached
        with files.atomic_write(self._state) as temporary:
            np.savez(temporary, request=self._request, position=position, **state)  # type: ignore[arg-type]
