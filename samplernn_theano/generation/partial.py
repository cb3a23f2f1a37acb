"""Partial output of a generation, written block by block, from which an interrupted one resumes exactly.

While a generation is in progress, a hidden folder next to the sound files holds

``request.json``  the request: another request does not resume from it
``samples``       consecutive blocks of raw samples (n_seqs, length)
``state.npz``     number of samples generated, and the state of the model there

Sound files are written at the end: only then are the mean of a sequence and its largest magnitude known.
"""

import json
import math
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, Quantised
from samplernn_theano.errors import OutputError
from samplernn_theano.generation.generator import Generator, State, blocks
from samplernn_theano.utils import files

REQUEST = "request.json"

SEGMENT = 2**20
"""Samples read at once."""

MAPPED_BYTES = 2**26
"""Bytes of the file of samples mapped into memory at once, of all sequences together."""

SAVE_SECONDS = 10.0
"""Interval between saves of the state: at most this much is generated again after a kill."""


@dataclass(frozen=True)
class PartialOutput:
    """Partial output of a generation in `folder`."""

    folder: Path
    n_seqs: int
    length: int  # samples of a block
    dtype: np.dtype[Any]

    @property
    def request(self) -> Path:
        """File of the request."""
        return self.folder / REQUEST

    @property
    def samples(self) -> Path:
        """File of the blocks of raw samples."""
        return self.folder / "samples"

    @property
    def state(self) -> Path:
        """File of the position and the state."""
        return self.folder / "state.npz"

    @property
    def block_bytes(self) -> int:
        """Size of one block in the file of samples."""
        return self.n_seqs * self.length * self.dtype.itemsize


def is_unfinished(folder: Path) -> bool:
    """True if `folder` holds an unfinished generation."""
    return (folder / REQUEST).exists()


def open_partial(
    folder: Path, request: Mapping[str, Any], generator: Generator, overwrite: bool
) -> PartialOutput:
    """Open the partial output in `folder` if it belongs to the same request; else create a new one.

    Parameters
    ----------
    overwrite : bool
        Replace that of another request, or a damaged one.

    Raises
    ------
    OutputError
        If the existing one belongs to another request or is damaged, or the folder cannot be written.
    """
    hp, sampler = generator.hp, generator.sampler
    output = PartialOutput(folder, sampler.n_seqs, sampler.length, _dtype(hp))
    text = json.dumps({**request, "block": sampler.length}, indent=1, sort_keys=True) + "\n"
    if output.request.exists():
        if output.request.read_bytes() != text.encode():
            wrong = "is of another model or other settings"
        elif not _is_intact(output, generator):
            wrong = "is damaged"
        else:
            return output
        if not overwrite:
            raise OutputError(
                f"The unfinished generation in {folder} {wrong}; give --overwrite to start again."
            )
    try:  # also without a request: a process may have been killed while it cleaned up
        for path in (output.state, output.samples):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(files.write_error_message(folder, error)) from error
    files.write_text(output.request, text)
    return output


def position(output: PartialOutput, generator: Generator) -> int:
    """Number of samples of each sequence generated so far."""
    return _position_and_state(output, generator)[0]


def fill(
    output: PartialOutput,
    generator: Generator,
    n_samples: int,
    on_progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Generate until each sequence has `n_samples` samples.

    `on_progress` is called with their number after every block.

    Raises
    ------
    OutputError
        If the files cannot be written.
    CheckpointError
        As `generator.blocks`.
    """
    start, state = _position_and_state(output, generator)
    generator.streams.skip(generator.sampler.noise, start)
    reached, stored = (start, state), start
    n_blocks = max(0, math.ceil((n_samples - start) / output.length))
    try:
        with open(output.samples, "r+b" if output.samples.exists() else "w+b") as file:
            file.truncate(start // output.length * output.block_bytes)
            file.seek(0, os.SEEK_END)
            saved = time.monotonic()
            try:
                for samples, after in islice(blocks(generator, state, start), n_blocks):
                    file.write(np.ascontiguousarray(samples, output.dtype).tobytes())
                    reached = reached[0] + output.length, after
                    on_progress(reached[0])
                    if time.monotonic() - saved > SAVE_SECONDS:
                        _save(output, file, *reached)
                        stored, saved = reached[0], time.monotonic()
            finally:  # also on Ctrl-C or SIGTERM
                if reached[0] > stored:
                    _save(output, file, *reached)
    except OSError as error:
        raise OutputError(files.write_error_message(output.samples, error)) from error


def read_sequence(output: PartialOutput, sequence: int, n_samples: int) -> NDArray:
    """First `n_samples` raw samples of a sequence, (n_samples,): levels or normalised numbers."""
    return np.concatenate(list(segments(output, sequence, n_samples)))


def segments(output: PartialOutput, sequence: int, n_samples: int) -> Iterator[NDArray]:
    """First `n_samples` raw samples of a sequence, in consecutive segments (samples,)."""
    n_blocks = math.ceil(n_samples / output.length)
    at_once = max(1, min(SEGMENT // output.length, MAPPED_BYTES // output.block_bytes))
    for first in range(0, n_blocks, at_once):
        shape = (min(at_once, n_blocks - first), output.n_seqs, output.length)
        blocks = np.memmap(output.samples, output.dtype, "r", first * output.block_bytes, shape)
        yield np.array(blocks[:, sequence]).ravel()[: n_samples - first * output.length]


def remove(folder: Path) -> None:
    """Remove the folder of a partial output, if it exists.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(files.write_error_message(folder, error)) from error


# --- helpers ------------------------------------------------------------------------------------------------


def _dtype(hp: HyperParameters) -> np.dtype[Any]:
    if isinstance(hp, Quantised):
        return np.dtype(np.int16 if hp.q_levels <= 2**15 else np.int32)
    return np.dtype(np.float32)


def _position_and_state(output: PartialOutput, generator: Generator) -> tuple[int, State]:
    """Number of samples generated, and the state there."""
    if not output.state.exists():
        return 0, generator.state
    with np.load(output.state, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return int(arrays.pop("position")), arrays


def _is_intact(output: PartialOutput, generator: Generator) -> bool:
    """True if no sample is missing and the state fits the model."""
    try:
        start, state = _position_and_state(output, generator)
        if start and output.samples.stat().st_size < start // output.length * output.block_bytes:
            return False
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return False
    return {name: x.shape for name, x in state.items()} == {n: x.shape for n, x in generator.state.items()}


def _save(output: PartialOutput, file: BinaryIO, position: int, state: State) -> None:
    file.flush()
    os.fsync(file.fileno())
    with files.atomic_write(output.state) as temporary:
        np.savez(temporary, position=position, **state)  # type: ignore[arg-type]
