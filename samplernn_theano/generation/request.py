"""A request: what to generate, with which settings."""

import math
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.errors import HyperParameterError

MIN_TEMPERATURE = 1e-30  # below it, the inverse overflows float32


@dataclass(frozen=True)
class Request:
    """Settings of a generation.

    Attributes
    ----------
    n_seqs : int
    seed : int
        Sequence i depends on it and on i only, not on the number of sequences.
    temperature : tuple of float
        One for all sequences, or one for each.
    top_p : float
        Below 1: only the most probable levels are drawn, which have this probability together.
    primes : tuple of Path
        Recordings to continue: sequence i continues number i modulo their count.
    silent : range
        Positions, in samples from the start of the generated part, at which silence is written and fed back.
    like_original : bool
        Draw with the original's random streams.
    generation : int
        Index of the generation, from 1: the original's random streams continue from one to the next.
    draws : int
        Draws of each sequence in one generation, needed if `generation` is above 1.
    backend : str or None
        See `samplers.create_sampler`.

    Raises
    ------
    HyperParameterError
        If a value is out of range, or two contradict each other.
    """

    n_seqs: int = 1
    seed: int = 0
    temperature: tuple[float, ...] = (1.0,)
    top_p: float = 1.0
    primes: tuple[Path, ...] = ()
    silent: range = range(0)
    like_original: bool = False
    generation: int = 1
    draws: int = 0
    backend: str | None = None

    def __post_init__(self) -> None:
        if self.n_seqs < 1:
            raise HyperParameterError(f"--n_seqs is {self.n_seqs}; it must be 1 or more.")
        if not 0 <= self.seed < 2**32:
            raise HyperParameterError(
                f"--seed is {self.seed}; it must be a whole number from 0 to 4294967295."
            )
        if not all(MIN_TEMPERATURE <= t < math.inf for t in self.temperature):
            raise HyperParameterError("--temperature must be a positive number; 1 is the model as it is.")
        if len(self.temperature) not in (1, self.n_seqs):
            raise HyperParameterError(
                f"--temperature has {len(self.temperature)} values for {self.n_seqs} sequences; give one, or "
                "one for each."
            )
        if not 0 < self.top_p <= 1:
            raise HyperParameterError(f"--top-p is {self.top_p:g}; it must be above 0 and at most 1.")
        if len(self.primes) > self.n_seqs:
            raise HyperParameterError(
                f"--prime names {len(self.primes)} recordings for {self.n_seqs} sequences; "
                f"give --n_seqs {len(self.primes)} or more."
            )
        if self.like_original and (self.temperature != (1.0,) or self.top_p < 1 or self.primes or self.seed):
            raise HyperParameterError(
                "--like-original goes without --temperature, --top-p, --prime and --seed: the original has "
                "none of them."
            )

    def temperature_of(self, sequence: int) -> float:
        """The temperature of one sequence."""
        return self.temperature[sequence % len(self.temperature)]
