"""A generation that is written down block by block, and goes on after an interruption as if uninterrupted.

A hidden folder beside the sound files holds, while a generation is under way,

``request.json``  what was asked for: another request does not go on from here
``samples``       blocks of raw samples (n_seqs, length), one after the other
``state.npz``     after how many samples it stands, the model's state and that of the random streams

Only when all samples are there are sound files made of them: the mean of a sequence and its largest
magnitude are known only then.
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

PIECE = 2**20
"""Samples that are read at once."""

MAPPED = 2**26
"""Bytes of the file of samples that are mapped into memory at once: those of all sequences lie between."""

SAVE_SECONDS = 10.0
"""Between two savings of the state: what a killed process has to generate again, at most."""


@dataclass(frozen=True)
class Spool:
    """A generation in the folder `folder`."""

    folder: Path
    n_seqs: int
    length: int  # samples of a block
    dtype: np.dtype[Any]

    @property
    def request(self) -> Path:
        """What was asked for."""
        return self.folder / REQUEST

    @property
    def samples(self) -> Path:
        """Blocks of raw samples."""
        return self.folder / "samples"

    @property
    def state(self) -> Path:
        """Where it stands."""
        return self.folder / "state.npz"

    @property
    def block_bytes(self) -> int:
        """Of one block in the file of samples."""
        return self.n_seqs * self.length * self.dtype.itemsize


def is_begun(folder: Path) -> bool:
    """Whether a generation in `folder` was begun, and not finished."""
    return (folder / REQUEST).exists()


def open_spool(folder: Path, request: Mapping[str, Any], generator: Generator, anew: bool) -> Spool:
    """The spool in `folder`: the one that is there, if it is of the same request; else a new one.

    Parameters
    ----------
    anew : bool
        Begin anew in place of one of another request, or a damaged one.

    Raises
    ------
    OutputError
        If there is one of another request, it is damaged, or it cannot be written.
    """
    hp, engine = generator.hp, generator.engine
    spool = Spool(folder, engine.n_seqs, engine.length, _dtype(hp))
    told = json.dumps({**request, "block": engine.length}, indent=1, sort_keys=True) + "\n"
    if spool.request.exists():
        if spool.request.read_bytes() != told.encode():
            wrong = "is of another model or other settings"
        elif not _is_whole(spool, generator):
            wrong = "is damaged"
        else:
            return spool
        if not anew:
            raise OutputError(
                f"The unfinished generation in {folder} {wrong}; give --overwrite, which begins anew."
            )
    try:  # also where there is no request: a process that had just ended its own may have been killed
        for path in (spool.state, spool.samples):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(files.explain(folder, error)) from error
    files.write_text(spool.request, told)
    return spool


def position(spool: Spool, generator: Generator) -> int:
    """How many samples of each sequence there are."""
    return _where(spool, generator)[0]


def fill(
    spool: Spool, generator: Generator, n_samples: int, told: Callable[[int], object] = lambda _: None
) -> None:
    """Generate until there are `n_samples` samples of each sequence.

    `told` hears how many there are after every block.

    Raises
    ------
    OutputError
        If the files cannot be written.
    CheckpointError
        As `generation.blocks`.
    """
    start, state = _where(spool, generator)
    generator.streams.skip(generator.engine.noise, start)
    reached, kept = (start, state), start
    n_blocks = max(0, math.ceil((n_samples - start) / spool.length))
    try:
        with open(spool.samples, "r+b" if spool.samples.exists() else "w+b") as file:
            file.truncate(start // spool.length * spool.block_bytes)
            file.seek(0, os.SEEK_END)
            saved = time.monotonic()
            try:
                for samples, after in islice(blocks(generator, state, start), n_blocks):
                    file.write(np.ascontiguousarray(samples, spool.dtype).tobytes())
                    reached = reached[0] + spool.length, after
                    told(reached[0])
                    if time.monotonic() - saved > SAVE_SECONDS:
                        _save(spool, file, *reached)
                        kept, saved = reached[0], time.monotonic()
            finally:  # also where Ctrl-C or SIGTERM ends it
                if reached[0] > kept:
                    _save(spool, file, *reached)
    except OSError as error:
        raise OutputError(files.explain(spool.samples, error)) from error


def raw(spool: Spool, sequence: int, n_samples: int) -> NDArray:
    """The first `n_samples` samples of a sequence, (n_samples,): levels or normalised numbers."""
    return np.concatenate(list(pieces(spool, sequence, n_samples)))


def pieces(spool: Spool, sequence: int, n_samples: int) -> Iterator[NDArray]:
    """The same in pieces (samples,)."""
    n_blocks = math.ceil(n_samples / spool.length)
    at_once = max(1, min(PIECE // spool.length, MAPPED // spool.block_bytes))
    for first in range(0, n_blocks, at_once):
        shape = (min(at_once, n_blocks - first), spool.n_seqs, spool.length)
        blocks = np.memmap(spool.samples, spool.dtype, "r", first * spool.block_bytes, shape)
        yield np.array(blocks[:, sequence]).ravel()[: n_samples - first * spool.length]


def remove(folder: Path) -> None:
    """Remove a spool, if there is one.

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
        raise OutputError(files.explain(folder, error)) from error


# --- helpers ------------------------------------------------------------------------------------------------


def _dtype(hp: HyperParameters) -> np.dtype[Any]:
    if isinstance(hp, Quantised):
        return np.dtype(np.int16 if hp.q_levels <= 2**15 else np.int32)
    return np.dtype(np.float32)


def _where(spool: Spool, generator: Generator) -> tuple[int, State]:
    """After how many samples it stands, and the state there."""
    if not spool.state.exists():
        return 0, generator.state
    with np.load(spool.state, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return int(arrays.pop("position")), arrays


def _is_whole(spool: Spool, generator: Generator) -> bool:
    """Whether the samples up to where it stands are there, and the state is one of such a model."""
    try:
        start, state = _where(spool, generator)
        if start and spool.samples.stat().st_size < start // spool.length * spool.block_bytes:
            return False
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return False
    return {name: x.shape for name, x in state.items()} == {n: x.shape for n, x in generator.state.items()}


def _save(spool: Spool, file: BinaryIO, position: int, state: State) -> None:
    file.flush()
    os.fsync(file.fileno())
    with files.atomic_write(spool.state) as temporary:
        np.savez(temporary, position=position, **state)  # type: ignore[arg-type]
