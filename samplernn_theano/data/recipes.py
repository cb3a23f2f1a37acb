"""Recipes: options for cutting recordings into clips, and for splitting the clips."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from samplernn_theano.data.manifest import SplitSizes
from samplernn_theano.errors import DataError
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

SPLIT_BY = ("clip", "recording", "speaker")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Options for cutting recordings into clips, and for splitting the clips."""

    set: str  # name of the data set, for the manifest
    name: str  # prefix of the file names of the splits
    sizes: Callable[[int], SplitSizes]  # from the number of clips; those beyond the sum are left out
    clip_seconds: float = 8.0
    stride_seconds: float | None = None  # from start to start; None: the length of a clip, so no overlap
    legacy_count: bool = False  # quirk of the original's script: seconds // 8 - 1 clips at any stride
    max_clips: int | None = None  # the first so many, or drawn; if `balanced`, an equal share of each speaker
    choice_seed: int | None = None  # by which `max_clips` are drawn among all clips
    by_speaker: bool = False  # each sub-folder is a speaker, and no clip holds two of them
    balanced: bool = False  # equal numbers of clips of all speakers
    variable_length: bool = False  # each recording is one clip, of any length
    shortest: float = 0.0  # seconds of a recording, if `variable_length`
    longest: float = math.inf
    split_by: str = "clip"  # or "recording", "speaker": what is in one split only
    order: str = "shuffled"  # or "shuffled train" (validation and test are the last clips), "as it is"
    one_clip_each: bool = False  # each recording must be one clip already
    seed: int = 123  # of the shuffle; the original's is 123
    strict: bool = False  # a recording that cannot be used is an error
    allow_upsampling: bool = False  # use recordings below 16 kHz as well
    allow_clipping: bool = False  # use recordings that are clipped in more than 1 % as well

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip_seconds) and self.length >= 2):
            raise DataError(
                f"--clip-seconds is {self.clip_seconds}; give the seconds of a clip, for instance 8."
            )
        if not (math.isfinite(self.stride_seconds or 1) and self.stride >= 1):
            raise DataError(
                f"--stride is {self.stride_seconds}; give the seconds between two clips, for instance 8."
            )
        if self.max_clips is not None and self.max_clips < 3:
            raise DataError(f"--clips is {self.max_clips}; at least 3 are needed.")
        if self.split_by not in SPLIT_BY:
            raise DataError(f"--split-by is {self.split_by}; choose one of {', '.join(SPLIT_BY)}.")
        if not 0 <= self.shortest <= self.longest:
            raise DataError(f"--shortest {self.shortest} and --longest {self.longest} leave no recording.")

    @property
    def length(self) -> int:
        """Samples in a clip."""
        return round(self.clip_seconds * SAMPLE_RATE)

    @property
    def stride(self) -> int:
        """Samples from the start of a clip to the start of the next."""
        return self.length if self.stride_seconds is None else round(self.stride_seconds * SAMPLE_RATE)

    @property
    def splits_first(self) -> bool:
        """True if recordings get their splits before they are cut into clips."""
        return self.split_by == "speaker" or (self.split_by == "recording" and not self.variable_length)

    @property
    def takes_first(self) -> bool:
        """True if the first `max_clips` are taken, so that later recordings need not be read."""
        return self.max_clips is not None and self.choice_seed is None and not self.balanced

    @property
    def options(self) -> dict[str, Any]:
        """The recipe's entry in the manifest."""
        keys = {"max_clips": "most", "choice_seed": "choice"}  # as in the first manifests
        options = {keys.get(name, name): value for name, value in asdict(self).items()}
        for name in ("set", "sizes", "strict", *["allow_clipping"] * (not self.allow_clipping)):
            del options[name]
        return {name: None if value == math.inf else value for name, value in options.items()}


def by_fractions(valid: float, test: float) -> Callable[[int], SplitSizes]:
    """Split by fractions of the clips; validation and test get at least one clip each."""
    for option, fraction in (("--valid-fraction", valid), ("--test-fraction", test)):
        if not 0 < fraction < 1:
            raise DataError(f"{option} is {fraction}; give a fraction of the clips, for instance 0.1.")
    if valid + test >= 1:
        raise DataError(
            f"--valid-fraction {valid} and --test-fraction {test} leave no training set; "
            "their sum must be below 1."
        )

    def sizes(clips: int) -> SplitSizes:
        v, t = max(1, round(clips * valid)), max(1, round(clips * test))
        return SplitSizes(clips - v - t, v, t)

    return sizes


def by_counts(valid: int, test: int) -> Callable[[int], SplitSizes]:
    """Sizes with so many clips for validation and test, as the original's Music set."""
    return lambda clips: SplitSizes(clips - valid - test, valid, test)


def by_units(unit: int = 256) -> Callable[[int], SplitSizes]:
    """Sizes in whole units, as the original's Blizzard set: 36, 3 and 3 units, or in that proportion."""

    def sizes(clips: int) -> SplitSizes:
        units = clips // unit
        held = max(1, round(units * 3 / 42))
        return SplitSizes((units - 2 * held) * unit, held * unit, held * unit)

    return sizes


def folder_recipe(
    *,
    clip_seconds: float | None,
    speakers: bool,
    split_by: str,
    variable_length: bool,
    shortest: float | None,
    longest: float | None,
    valid_fraction: float,
    test_fraction: float,
    **options: Any,
) -> Recipe:
    """Recipe of `samplernn prepare`, for a folder of recordings; None: 8 s, or no limit."""
    if not variable_length and (shortest or longest):
        raise DataError("--shortest and --longest have no effect without --variable-length; add it.")
    if variable_length and clip_seconds is not None:
        raise DataError("--clip-seconds has no effect with --variable-length; leave it out.")
    return Recipe(
        set="folder",
        sizes=by_fractions(valid_fraction, test_fraction),
        clip_seconds=8.0 if clip_seconds is None else clip_seconds,
        by_speaker=speakers or split_by == "speaker",
        split_by=split_by,
        variable_length=variable_length,
        shortest=shortest or 0.0,
        longest=longest or math.inf,
        **options,
    )
