"""A request: what to generate, with which settings."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from samplernn_theano.errors import HyperParameterError

MIN_TEMPERATURE = 1e-30  # below it, the inverse overflows float32


@dataclass(frozen=True)
class Prime:
    """A recording to continue, or the part of it between two times in seconds."""

    path: Path
    start: float = 0.0
    stop: float | None = None  # None: the end

    @classmethod
    def parse(cls, text: str | Path) -> Self:
        """A prime from FILE or FILE:FROM:TO; a file that has the whole text as its name comes first.

        Raises HyperParameterError if what follows a recording and a colon is no part of it.
        """
        number = r"(\d+\.?\d*|\.\d+)"
        match = re.fullmatch(f"(.+):{number}:{number}", str(text), re.DOTALL)
        before_colons = (str(text)[: colon.start()] for colon in re.finditer(":", str(text)))
        if Path(text).exists() or not (match or any(Path(name).is_file() for name in before_colons)):
            return cls(Path(text))
        if match and float(match[2]) < float(match[3]):
            return cls(Path(match[1]), float(match[2]), float(match[3]))
        raise HyperParameterError(
            f"--prime {text} names no part of a recording; give FILE:FROM:TO in seconds, FROM below TO."
        )

    @property
    def stem(self) -> str:
        """Name for files: that of the recording, of a part with its times."""
        part = "" if self.stop is None else f"_{self.start:g}-{self.stop:g}"
        return self.path.stem[:40] + part

    def describe(self, name: str | Path) -> str:
        """Text about it, in which the recording is called `name`."""
        return f"{name}" if self.stop is None else f"{name} from {self.start:g} to {self.stop:g} s"


@dataclass(frozen=True)
class Request:
    """What to generate; values out of range and contradictions are a HyperParameterError."""

    n_seqs: int = 1
    seed: int = 0  # sequence i depends on it and on i only, not on the number of sequences
    temperature: tuple[float, ...] = (1.0,)  # one for all sequences, or one for each
    top_p: float = 1.0  # only the most probable levels are drawn, which have this probability together
    primes: tuple[Prime, ...] = ()  # sequence i continues number i modulo their count
    silent: range = range(0)  # positions in the generated part at which silence is written and fed back
    like_original: bool = False  # draw with the original's random streams
    backend: str | None = None  # see `samplers.create_sampler`

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

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperature of each sequence."""
        return self.temperature * (self.n_seqs // len(self.temperature))
