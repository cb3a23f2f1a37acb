"""Clips that share sound: clips that were cut from the same stretch of a recording.

Two clips overlap if, laid over each other at some shift, they agree bit for bit over the whole of their
common part, and that part is long enough and not silent. So a note that is repeated is no overlap, and a clip
cut from second 3 to 11 of a recording overlaps one cut from second 10 to 18 by one second.

Not every shift of every pair is tried. Of all stretches of `SPAN` samples of a clip a few are chosen as its
anchors, by their content alone, so that the same sound has the same anchors wherever it stands (winnowing:
Schleimer, Wilkerson and Aiken, "Local algorithms for document fingerprinting", SIGMOD 2003). Clips that have
an anchor in common are then compared sample by sample, at the shift which that anchor tells.

So nothing is found that is not there. An overlap of `WINDOW + SPAN` samples (0.13 s at 16 kHz) or more is
missed only if all anchors in it recur more than `MOST` times in the other split, as in a set that is made of
one loop; whether that can be is reported.
"""

import hashlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from samplernn_theano.data.dataset import QUIET, Clips, forget, lengths

SPAN = 64
"""Differences of neighbouring samples that are hashed together."""

WINDOW = 2048
"""Among so many stretches in a row at least one is an anchor, unless all are constant or silent."""

MOST = 32
"""So many places with the same anchor are looked at; bounds the time for loops and jingles."""

_ODD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: mixes well
_NEVER = np.uint32(2**32 - 1)


class Overlap(NamedTuple):
    """The longest stretch that a clip has in common with another one."""

    partner: int
    """Number of the other clip."""
    samples: int
    """Length of the stretch."""
    identical: bool
    """Whether the clips are the same from end to end."""


class Anchors:
    """The anchors of the clips of one split: each a hash, the number of its clip, and its place in the clip.

    About 1 in 1,000 samples is an anchor, which takes 28 bytes.
    """

    def __init__(self, clips: Clips, kind: np.dtype, shortest: int) -> None:
        """Begin with none.

        Parameters
        ----------
        clips
            The clips of the split.
        kind
            Type of float in which clips are compared, at most 8 bytes.
        shortest
            The least samples in common that count, at least `WINDOW + SPAN`.
        """
        if shortest < WINDOW + SPAN:
            raise ValueError(f"overlaps below {WINDOW + SPAN} samples are not found for sure, not {shortest}")
        self.clips, self.kind, self.shortest = clips, kind, shortest
        self.lengths = lengths(clips)
        self.of_clip: dict[int, tuple[NDArray[np.uint64], NDArray[np.int32]]] = {}
        self.digests: dict[int, bytes] = {}
        self.same: defaultdict[bytes, list[int]] = defaultdict(list)  # clips by their digest

    def add(self, number: int, clip: NDArray[np.floating]) -> None:
        """Add the anchors of clip `number`, which is not silent."""
        bits = self.bits(clip)
        digest = hashlib.blake2b(bits, digest_size=16).digest()
        self.digests[number] = digest
        self.same[digest].append(number)
        if len(bits) >= self.shortest:
            # An anchor has a sample that is loud, so clips that share an anchor share more than silence.
            loud = np.abs(clip) >= QUIET
            self.of_clip[number] = _choose(bits, loud)

    def sort(self) -> None:
        """Make ready to be searched; after the last clip."""
        hashes = np.concatenate([np.empty(0, np.uint64), *(h for h, _ in self.of_clip.values())])
        clips = np.repeat(np.array(list(self.of_clip), np.int32), [len(h) for h, _ in self.of_clip.values()])
        places = np.concatenate([np.empty(0, np.int32), *(p for _, p in self.of_clip.values())])
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.numbers, self.places = hashes[order], clips[order], places[order]

    def bits(self, clip: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
        """The samples of `clip` as whole numbers of the same bits."""
        samples = np.ascontiguousarray(clip, self.kind)
        return samples.view(f"u{samples.itemsize}")


def longest_overlaps(
    later: Anchors, earlier: Anchors, progress: bool = True
) -> tuple[dict[int, Overlap], bool]:
    """Find the clips of one split that share sound with clips of another, or of the same.

    Returns
    -------
    dict
        By the number of the clip in `later`: the longest stretch that it shares with a clip of `earlier`
        other than itself. Clips that share nothing are left out. Identical clips count even if short.
    bool
        Whether some clip may have been missed, as its anchors recur too often for all to be looked at.
    """
    found: dict[int, Overlap] = {}
    missed = False
    for number in tqdm(later.digests, desc="overlaps", unit="clip", leave=False, disable=not progress):
        same = [i for i in earlier.same.get(later.digests[number], ()) if later is not earlier or i != number]
        if same:
            found[number] = Overlap(same[0], len(later.clips[number]), True)
        elif number in later.of_clip:
            candidates, too_many = _candidates(later, number, earlier)
            overlap = _first_that_agrees(later, number, earlier, candidates)
            if overlap:
                found[number] = overlap
            else:
                missed |= too_many
        if number % 64 == 63:
            forget(later.clips)
            forget(earlier.clips)
    return found, missed


def _choose(
    bits: NDArray[np.unsignedinteger], loud: NDArray[np.bool]
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The anchors of a clip: their hashes, and where they begin.

    The hash is that of Rabin and Karp, over the differences of neighbouring samples: 0 if all samples are
    equal. An anchor is the stretch of the least hash (as to its upper half) among `WINDOW` in a row.
    """
    whole = bits.astype(np.uint64)
    hashes = whole[1:] - whole[:-1]
    power, width = _ODD, 1
    while width < SPAN:
        hashes = hashes[:-width] * np.uint64(power) + hashes[width:]
        power, width = power**2 % 2**64, 2 * width
    hashes = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(_ODD)
    rank = (hashes >> np.uint64(32)).astype(np.uint32)
    rank[(hashes == 0) | ~_sliding(np.logical_or, loud[1:] | loud[:-1], SPAN)] = _NEVER
    least = _sliding(np.minimum, rank, WINDOW)
    # The highest of the minima of the windows that a stretch is in: it is chosen if it equals one of them.
    highest = _sliding(np.maximum, np.pad(least, WINDOW - 1), WINDOW)
    places = np.flatnonzero((rank == highest) & (rank < _NEVER))
    return hashes[places], places.astype(np.int32)


def _sliding(reduce: np.ufunc, values: NDArray, window: int) -> NDArray:
    """`reduce` over every `window` neighbouring values, a power of 2."""
    width = 1
    while width < window:
        values = reduce(values[:-width], values[width:])
        width *= 2
    return values


def _candidates(later: Anchors, number: int, earlier: Anchors) -> tuple[list[tuple[int, int, int]], bool]:
    """Where clip `number` may overlap others: (samples in common, other clip, shift), the longest first.

    Sample i of the clip is then sample i - shift of the other. Also whether there may be more.
    """
    hashes, places = later.of_clip[number]
    first = np.searchsorted(earlier.hashes, hashes, "left")
    last = np.searchsorted(earlier.hashes, hashes, "right")
    at = first[:, None] + np.arange(min(MOST, np.max(last - first, initial=0)))
    row, column = np.nonzero(at < last[:, None])
    hit = at[row, column]
    others = earlier.numbers[hit].astype(np.int64)
    shifts = places[row].astype(np.int64) - earlier.places[hit]
    if later is earlier:
        others, shifts = others[others != number], shifts[others != number]
    others, shifts = np.unique(np.stack([others, shifts]), axis=1)
    ends = np.minimum(later.lengths[number], earlier.lengths[others] + shifts)
    common = ends - np.maximum(0, shifts)
    long = np.flatnonzero(common >= later.shortest)
    order = long[np.argsort(-common[long], kind="stable")]
    found = [(int(common[i]), int(others[i]), int(shifts[i])) for i in order]
    return found, _may_hide(later, number, last - first > MOST)


def _may_hide(anchors: Anchors, number: int, frequent: NDArray[np.bool]) -> bool:
    """Say whether an overlap may have none but `frequent` anchors, (anchors of the clip,)."""
    places = anchors.of_clip[number][1]
    edges = np.concatenate([[-1], places[~frequent], [anchors.lengths[number]]])
    after = np.searchsorted(edges, places[frequent])
    return bool((edges[after] - edges[after - 1] > anchors.shortest - SPAN).any())


def _first_that_agrees(
    later: Anchors, number: int, earlier: Anchors, candidates: list[tuple[int, int, int]]
) -> Overlap | None:
    clip = later.bits(np.asarray(later.clips[number]))
    for common, partner, shift in candidates:
        begin = max(0, shift)
        ours = clip[begin : begin + common]
        theirs = earlier.clips[partner][begin - shift : begin - shift + common]
        if (ours[:256] == earlier.bits(theirs[:256])).all() and (ours == earlier.bits(theirs)).all():
            return Overlap(partner, common, False)
    return None
