"""Where the random numbers of a generation come from.

Every sequence has streams of its own, and each goes on where it stopped. So what sequence i becomes depends
neither on how many others are generated beside it nor on the length of the blocks. What goes on after an
interruption draws anew what was drawn before: that takes no time.

There are two kinds. `OwnStreams` is for any seed and any family. `OriginalStreams` are those of the
original's sampler: with them and its parameters, the samples are its samples.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.original import mrg31k3p


class Streams(Protocol):
    """The random numbers of `n_seqs` sequences."""

    def draw(self, name: str, length: int) -> NDArray[np.float32]:
        """The next `length` numbers of each sequence, (length, n_seqs): drawing 10 and then 20 is drawing 30.

        Parameters
        ----------
        name : {"uniforms", "normals"}
            "uniforms": above 0 and less than 1; "normals": of mean 0 and variance 1, which only the
            real-valued families need. Drawing the one does not move the other.
        length : int
            0 or more.
        """

    def skip(self, names: Sequence[str], length: int) -> None:
        """Go on as if `length` numbers of each of these kinds had been drawn from each sequence."""


PIECE = 2**20  # numbers that are drawn at once to be skipped
LOWEST, BELOW_ONE = np.float32(2**-25), np.float32(1 - 2**-17)


class OwnStreams:
    """Streams that depend on the seed and on the number of the sequence only: NumPy's PCG64.

    Sequence i draws its uniforms from ``Generator(PCG64(SeedSequence([seed, i])))`` and its normals from
    ``Generator(PCG64(SeedSequence([seed, i], spawn_key=(1,))))``.

    The uniforms are those times `BELOW_ONE`, and `LOWEST` at least. A draw is the first level whose running
    sum of probabilities exceeds the uniform, or 0: at exactly 0 that would be the lowest level, however
    improbable, and above a sum in float32 that ends short of 1 (for 256 levels by less than 2^-17, wherever
    it was looked at) level 0 too: together some clicks an hour. The original has them.

    Parameters
    ----------
    seed : int
        0 or more.
    n_seqs : int
        How many sequences.
    """

    def __init__(self, seed: int, n_seqs: int) -> None:
        self._generators = {
            name: [_generator(np.random.SeedSequence([seed, i], spawn_key=key)) for i in range(n_seqs)]
            for name, key in (("uniforms", ()), ("normals", (1,)))
        }

    def draw(self, name: str, length: int) -> NDArray[np.float32]:
        """As `Streams.draw`."""
        generators = self._generators[name]
        drawn = np.empty((len(generators), length), np.float32)
        for generator, row in zip(generators, drawn, strict=True):
            if name == "uniforms":
                generator.random(dtype=np.float32, out=row)
            else:
                generator.standard_normal(dtype=np.float32, out=row)
        if name == "uniforms":
            drawn = np.maximum(drawn * BELOW_ONE, LOWEST)
        return np.ascontiguousarray(drawn.T)

    def skip(self, names: Sequence[str], length: int) -> None:
        """As `Streams.skip`."""
        for name in names:
            at_once = max(1, PIECE // max(1, len(self._generators[name])))
            for start in range(0, length, at_once):
                self.draw(name, min(at_once, length - start))


class OriginalStreams:
    """Theano's MRG31k3p streams as the original uses them: sequence b draws from stream b.

    The original seeds them with 234 when a script starts and never again: its next generation in the same
    process goes on where the last one ended.

    Parameters
    ----------
    n_seqs : int
        How many sequences: 20 in the original, 10 in its wavenet.
    seed : int
        1 or more.
    """

    def __init__(self, n_seqs: int, seed: int = mrg31k3p.SEED) -> None:
        self._states = mrg31k3p.states(seed, n_seqs)

    def draw(self, name: str, length: int) -> NDArray[np.float32]:
        """As `Streams.draw`.

        Raises
        ------
        HyperParameterError
            If these are not "uniforms".
        """
        if name != "uniforms":
            raise HyperParameterError(
                "The original has no real-valued families, and so no random numbers for this model; "
                "generate without --like-original."
            )
        self._states, drawn = mrg31k3p.uniforms(self._states, length)
        return drawn

    def skip(self, names: Sequence[str], length: int) -> None:
        """As `Streams.skip`; takes no time."""
        self._states = mrg31k3p.jump(self._states, length)


def _generator(seeds: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seeds))
