"""Give whole recordings, or whole speakers, to the splits before they are cut into clips.

Recordings of one split are concatenated, so no clip holds sound of two splits. A split gets a recording, in
random order, if that brings its duration nearer to the one asked for. Where that leaves it with less than
half of it, as with a single recording, the recordings are cut in time instead: the last parts are the test
and the validation set. With speakers in sub-folders each speaker's recordings are split for themselves.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from samplernn_theano.data.dataset import SPLITS
from samplernn_theano.data.recipes import by_fractions
from samplernn_theano.errors import DataError
from samplernn_theano.original.shuffle import shuffle

if TYPE_CHECKING:
    from samplernn_theano.data.recipes import Recipe
    from samplernn_theano.data.recordings import Decoded


class Piece(NamedTuple):
    """A recording, or a part of one; its split is empty until its clips are split."""

    name: str
    speaker: str | None
    sound: "Decoded"
    split: str = ""

    def part(self, split: str, start: int, stop: int) -> "Piece":
        """The samples from `start` to `stop`, for a split."""
        return self._replace(split=split, sound=self.sound._replace(length=stop - start, begin=start))


def split_pieces(pieces: Sequence[Piece], recipe: "Recipe") -> list[Piece]:
    """Assign recordings to splits of about the recipe's durations; sorted by split, else in their order.

    Raises DataError if whole speakers are asked for, and there are fewer than three.
    """
    by_speaker = [list(own) for _, own in groupby(pieces, key=lambda piece: piece.speaker)]
    if recipe.split_by == "speaker":
        parts = _by_speaker(by_speaker, recipe)
    else:
        parts = _by_recording(by_speaker, recipe)
    return sorted(parts, key=lambda piece: SPLITS.index(piece.split))


def fraction_without_cuts(pieces: Sequence[Piece], recipe: "Recipe") -> float | None:
    """The least fraction, for each of validation and test, that cuts no recording; None without one."""
    for fraction in (0.1, 0.15, 0.2, 0.25, 0.3):
        own = replace(recipe, sizes=by_fractions(fraction, fraction))
        if len(split_pieces(pieces, own)) == len(pieces):
            return fraction
    return None


def _by_speaker(speakers: Sequence[Sequence[Piece]], recipe: "Recipe") -> list[Piece]:
    if len(speakers) < 3:
        raise DataError(
            f"--split-by speaker needs a speaker for each split, and the recordings are of {len(speakers)}; "
            "add speakers, or pass --split-by recording."
        )
    lengths = [sum(piece.sound.length for piece in own) for own in speakers]
    splits = _whole(lengths, _wanted(sum(lengths), recipe), recipe.seed, recipe.length)
    return [piece._replace(split=split) for own, split in zip(speakers, splits, strict=True) for piece in own]


def _by_recording(speakers: Sequence[Sequence[Piece]], recipe: "Recipe") -> list[Piece]:
    parts: list[Piece] = []
    total = sum(piece.sound.length for own in speakers for piece in own)
    wanted, seen = _wanted(total, recipe), 0
    settled = dict.fromkeys(wanted, 0)
    for own in speakers:
        lengths = [piece.sound.length for piece in own]
        seen += sum(lengths)
        # Less than a clip is due to the next speaker.
        due = {split: wanted[split] * seen // total - settled[split] for split in wanted}
        due = {split: samples if samples >= recipe.length else 0 for split, samples in due.items()}
        settled = {split: settled[split] + due[split] for split in due}
        splits = _whole(lengths, due, recipe.seed)
        asked = {"train": sum(lengths) - sum(due.values()), **due}
        got = {
            name: sum(n for n, split in zip(lengths, splits, strict=True) if split == name) for name in asked
        }
        if all(got[name] >= max(recipe.length, asked[name] / 2) for name in asked if asked[name] > 0):
            parts += [piece._replace(split=split) for piece, split in zip(own, splits, strict=True)]
        else:
            parts += _in_time(own, due, recipe.length)
    return parts


def _wanted(total: int, recipe: "Recipe") -> dict[str, int]:
    """Samples of `total` for test and validation, at least a clip."""
    sizes = recipe.sizes(total)
    return {"test": max(recipe.length, sizes.test), "valid": max(recipe.length, sizes.valid)}


def _whole(lengths: Sequence[int], due: dict[str, int], seed: int, at_least: int | None = None) -> list[str]:
    """The split of each: in random order those that bring a split nearer to the samples `due` to it.

    One is left for each split after it. If none brings it nearer, a split gets the shortest one of `at_least`
    so many samples; None: it gets none.
    """
    order = list(range(len(lengths)))
    shuffle(order, seed)
    splits = ["train"] * len(lengths)
    for later, (split, samples) in zip(range(len(due), 0, -1), due.items(), strict=True):
        got, own = 0, set[int]()
        for i in order:
            if 2 * got + lengths[i] <= 2 * samples and len(order) - len(own) > later:
                got += lengths[i]
                own.add(i)
        if not own and at_least is not None:
            own.add(min(order, key=lambda i: (lengths[i] < at_least, lengths[i])))
        for i in own:
            splits[i] = split
        order = [i for i in order if i not in own]
    return splits


def _in_time(pieces: Sequence[Piece], due: dict[str, int], length: int) -> list[Piece]:
    """Cut the recordings, one after the other, in three parts of whole clips: train, valid and test."""
    total = sum(piece.sound.length for piece in pieces)
    clips = total // length
    test = min(round(due["test"] / length), clips)
    valid = min(round(due["valid"] / length), clips - test)
    ends = [(clips - test - valid) * length, (clips - test) * length, total]
    parts, begin = [], 0
    for piece in pieces:
        start = 0
        for split, end in zip(SPLITS, ends, strict=True):
            stop = min(piece.sound.length, end - begin)
            if stop > start:
                parts.append(piece.part(split, start, stop))
                start = stop
        begin += piece.sound.length
    return parts
