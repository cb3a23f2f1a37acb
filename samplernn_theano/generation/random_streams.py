"""Random streams of a generation: one per sequence and kind of number.

A sequence therefore depends neither on the number of sequences nor on the block length. The kinds are
"uniforms", above 0 and less than 1, and "normals", of mean 0 and variance 1, for real-valued families.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import PCG64, SeedSequence
from numpy.typing import NDArray

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.original import mrg31k3p

MAX_SKIP = 2**20  # numbers that are drawn at once to be skipped
MIN_UNIFORM, MAX_FACTOR = np.float32(2**-25), np.float32(1 - 2**-17)


class NumpyStreams:
    """NumPy PCG64 streams, for any family, that depend only on the seed and the index of the sequence.

    Uniforms are multiplied by `MAX_FACTOR`, and at least `MIN_UNIFORM`: an exact 0 would draw level 0 however
    improbable, and so would one above a float32 sum of probabilities that ends short of 1 (by less than 2^-17
    for 256 levels, in every case examined): some clicks per hour, which the original has.
    """

    def __init__(self, seed: int, n_seqs: int) -> None:
        self._generators = {
            name: [np.random.Generator(PCG64(SeedSequence([seed, i], spawn_key=key))) for i in range(n_seqs)]
            for name, key in (("uniforms", ()), ("normals", (1,)))
        }

    def draw(self, name: str, length: int) -> NDArray[np.float32]:
        """Draw the next `length` numbers of each sequence, (length, n_seqs)."""
        generators, uniform = self._generators[name], name == "uniforms"
        drawn = np.empty((len(generators), length), np.float32)
        for generator, row in zip(generators, drawn, strict=True):
            draw = generator.random if uniform else generator.standard_normal
            draw(dtype=np.float32, out=row)
        return np.ascontiguousarray((np.maximum(drawn * MAX_FACTOR, MIN_UNIFORM) if uniform else drawn).T)

    def skip(self, names: Sequence[str], length: int) -> None:
        """Advance each of these kinds by `length` numbers per sequence."""
        for name in names:
            at_once = max(1, MAX_SKIP // max(1, len(self._generators[name])))
            for start in range(0, length, at_once):
                self.draw(name, min(at_once, length - start))


class TheanoStreams:
    """Theano's MRG31k3p streams as the original uses them: sequence b draws from stream b.

    The original seeds them with 234 once per process: its next generation continues where the last one ended.
    """

    def __init__(self, n_seqs: int) -> None:
        self._states = mrg31k3p.states(n_seqs)

    def draw(self, name: str, length: int) -> NDArray[np.float32]:
        """Draw the next `length` uniforms of each sequence, (length, n_seqs)."""
        if name != "uniforms":
            raise HyperParameterError(
                "The original has no real-valued families, and so no random numbers for this model; "
                "generate without --like-original."
            )
        self._states, drawn = mrg31k3p.uniforms(self._states, length)
        return drawn

    def skip(self, names: Sequence[str], length: int) -> None:
        """Advance by `length` numbers per sequence; takes no time."""
        self._states = mrg31k3p.jump(self._states, length)


type RandomStreams = NumpyStreams | TheanoStreams
