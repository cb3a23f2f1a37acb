"""Recipes: how recordings become the clips of a data set, and how clips become splits."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from samplernn_theano.data.manifest import Sizes
from samplernn_theano.errors import DataError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How recordings become clips, and clips become splits."""

    set: str
    """Which data set this is, for the manifest."""
    name: str
    """What the names of the split files begin with."""
    sizes: Callable[[int], Sizes]
    """How many of so many clips go to training, validation and test; what is beyond these is left out."""
    clip_seconds: float = 8.0
    """Length of a clip."""
    stride_seconds: float | None = None
    """From the beginning of a clip to that of the next; None: the length, so that clips do not overlap."""
    legacy_count: bool = False
    """Quirk of the original's script: seconds // 8 - 1 clips, whatever the stride is."""
    most: int | None = None
    """At most so many clips: the first ones, or those that `choice` draws; of each speaker the same part."""
    choice: int | None = None
    """Seed by which `most` clips are drawn among all."""
    by_speaker: bool = False
    """Whether each sub-folder is a speaker, and no clip holds two of them."""
    balanced: bool = False
    """Whether as many clips of each speaker are taken as of the others."""
    variable_length: bool = False
    """Whether each recording is one clip, whatever its length."""
    shortest: float = 0.0
    """Recordings of fewer seconds are left out, where clips have variable length."""
    longest: float = math.inf
    """And those of more."""
    order: str = "shuffled"
    """shuffled; shuffled train: validation and test are the last clips as they came; as it is."""
    one_clip_each: bool = False
    """Whether each recording must be one clip already."""
    seed: int = 123
    """Of the shuffle; the original's is 123."""
    strict: bool = False
    """Whether a recording that cannot be used is an error."""
    allow_upsampling: bool = False
    """Whether recordings of less than 16 kHz are used."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip_seconds) and self.length >= 2):
            raise DataError(
                f"--clip-seconds is {self.clip_seconds}; give the seconds of a clip, for instance 8."
            )
        if not (math.isfinite(self.stride_seconds or 1) and self.stride >= 1):
            raise DataError(
                f"--stride is {self.stride_seconds}; give the seconds between two clips, for instance 8."
            )
        if self.most is not None and self.most < 3:
            raise DataError(f"--clips is {self.most}; at least 3 are needed.")
        if not 0 <= self.shortest <= self.longest:
            raise DataError(f"--shortest {self.shortest} and --longest {self.longest} leave no recording.")

    @property
    def length(self) -> int:
        """Samples in a clip."""
        return round(self.clip_seconds * SAMPLE_RATE)

    @property
    def stride(self) -> int:
        """Samples from the beginning of a clip to that of the next one."""
        return self.length if self.stride_seconds is None else round(self.stride_seconds * SAMPLE_RATE)

    @property
    def takes_first(self) -> bool:
        """Whether the first `most` clips are taken, so that what comes after them need not be read."""
        return self.most is not None and self.choice is None and not self.balanced

    @property
    def options(self) -> dict[str, Any]:
        """What the manifest says of it."""
        options = asdict(self)
        for name in ("set", "sizes", "strict"):
            del options[name]
        return {name: None if value == math.inf else value for name, value in options.items()}


def by_fractions(valid: float, test: float) -> Callable[[int], Sizes]:
    """Split by parts of the clips; at least one clip goes to validation and one to the test.

    Raises
    ------
    DataError
        If the parts make no sense.
    """
    for option, fraction in (("--valid-fraction", valid), ("--test-fraction", test)):
        if not 0 < fraction < 1:
            raise DataError(f"{option} is {fraction}; give a part of the clips, for instance 0.1.")
    if valid + test >= 1:
        raise DataError(
            f"--valid-fraction {valid} and --test-fraction {test} leave no training set; "
            "their sum must be below 1."
        )

    def sizes(clips: int) -> Sizes:
        v, t = max(1, round(clips * valid)), max(1, round(clips * test))
        return Sizes(clips - v - t, v, t)

    return sizes


def by_counts(valid: int, test: int) -> Callable[[int], Sizes]:
    """Split off so many clips for validation and the test, as the original's Music set."""
    return lambda clips: Sizes(clips - valid - test, valid, test)


def by_units(unit: int = 256) -> Callable[[int], Sizes]:
    """Split in units, as the original's Blizzard set: 36, 3 and 3 units, or in that proportion."""

    def sizes(clips: int) -> Sizes:
        units = clips // unit
        held = max(1, round(units * 3 / 42))
        return Sizes((units - 2 * held) * unit, held * unit, held * unit)

    return sizes
