"""Duplicates: clips that share sound, because they were cut from the same segment of a recording.

Two clips are duplicates if, at some shift, they are equal bit for bit over their whole common segment, and
that segment is long enough and not silent. A repeated note is no duplicate; a clip cut from second 3 to 11 of
a recording shares one second with a clip cut from second 10 to 18.

Not every shift of every pair is tried. A few of the segments of `SPAN` samples in a clip are selected as its
fingerprints, by their content alone, so that the same sound has the same fingerprints everywhere (winnowing:
Schleimer, Wilkerson and Aiken, "Local algorithms for document fingerprinting", SIGMOD 2003). Clips with a
common fingerprint are then compared sample by sample, at the shift of that fingerprint.

There are no false positives. A common segment of `WINDOW + SPAN` samples (0.13 s at 16 kHz) or more is missed
only if all its fingerprints recur more than `MAX_MATCHES` times in the other split, as in a set made of one
loop; it is reported if that is possible.
"""

import hashlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.data.dataset import SILENCE, Clips, lengths, release
from samplernn_theano.utils.progress import counted

SPAN = 64
"""Number of differences of neighbouring samples in a hash."""

WINDOW = 2048
"""At least one of so many consecutive segments is a fingerprint, unless all are constant or silent."""

MAX_MATCHES = 32
"""Number of segments compared that have the same fingerprint; bounds the time for loops and jingles."""

_ODD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: mixes well
_UNUSED = np.uint32(2**32 - 1)


class Duplicate(NamedTuple):
    """The longest segment that a clip has in common with another one."""

    partner: int  # number of the other clip
    samples: int  # length of the segment
    identical: bool  # from end to end


class Fingerprints:
    """The fingerprints of the clips of one split: each a hash, the number of its clip, its position there.

    About 1 in 1,000 samples starts a fingerprint, which takes 28 bytes. Clips are compared as floats of the
    type `dtype`, at most 8 bytes; a common segment has at least `min_samples` >= `WINDOW + SPAN`.
    """

    def __init__(self, clips: Clips, dtype: np.dtype, min_samples: int) -> None:
        self.clips, self.dtype, self.min_samples = clips, dtype, min_samples
        self.lengths = lengths(clips)
        self.of_clip: dict[int, tuple[NDArray[np.uint64], NDArray[np.int32]]] = {}
        self.digests: dict[int, bytes] = {}
        self.by_digest: defaultdict[bytes, list[int]] = defaultdict(list)  # numbers of clips

    def add(self, number: int, clip: NDArray[np.floating]) -> None:
        """Add the fingerprints of clip `number`, which is not silent."""
        bits = self.bits(clip)
        digest = hashlib.blake2b(bits, digest_size=16).digest()
        self.digests[number] = digest
        self.by_digest[digest].append(number)
        if len(bits) >= self.min_samples:
            # Every fingerprint has a loud sample, so clips with a common one share more than silence.
            self.of_clip[number] = _select(bits, np.abs(clip) >= SILENCE)

    def sort(self) -> None:
        """Sort all hashes for the search; call it after the last clip."""
        hashes = np.concatenate([np.empty(0, np.uint64), *(h for h, _ in self.of_clip.values())])
        clips = np.repeat(np.array(list(self.of_clip), np.int32), [len(h) for h, _ in self.of_clip.values()])
        positions = np.concatenate([np.empty(0, np.int32), *(p for _, p in self.of_clip.values())])
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.numbers, self.positions = hashes[order], clips[order], positions[order]

    def bits(self, clip: NDArray[np.floating]) -> NDArray[np.unsignedinteger]:
        """The samples of `clip` reinterpreted as unsigned integers."""
        samples = np.ascontiguousarray(clip, self.dtype)
        return samples.view(f"u{samples.itemsize}")


def longest_duplicates(
    later: Fingerprints, earlier: Fingerprints, progress: bool = True
) -> tuple[dict[int, Duplicate], bool]:
    """Find the clips of one split that share sound with clips of another, or of the same.

    Returns, by the number of the clip in `later`, the longest segment that it shares with another clip, of
    `earlier` (identical clips count even if short); and True if a clip may have been missed, because its
    fingerprints recur too often to compare all.
    """
    found: dict[int, Duplicate] = {}
    missed = False
    for number in counted(later.digests, "duplicates", len(later.digests), "clips", progress):
        equal = earlier.by_digest.get(later.digests[number], ())
        same = [i for i in equal if later is not earlier or i != number]
        if same:
            found[number] = Duplicate(same[0], len(later.clips[number]), True)
        elif number in later.of_clip:
            candidates, too_many = _candidates(later, number, earlier)
            duplicate = _first_equal(later, number, earlier, candidates)
            if duplicate:
                found[number] = duplicate
            else:
                missed |= too_many
        if number % 64 == 63:
            release(later.clips)
            release(earlier.clips)
    return found, missed


def _select(
    bits: NDArray[np.unsignedinteger], loud: NDArray[np.bool]
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Hashes and positions of the fingerprints of a clip.

    The hash is that of Rabin and Karp, over the differences of neighbouring samples: 0 if all samples are
    equal. A fingerprint is the segment of the minimal hash (its upper half) among `WINDOW` consecutive ones.
    """
    whole = bits.astype(np.uint64)
    hashes = whole[1:] - whole[:-1]
    power, width = _ODD, 1
    while width < SPAN:
        hashes = hashes[:-width] * np.uint64(power) + hashes[width:]
        power, width = power**2 % 2**64, 2 * width
    hashes = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(_ODD)
    rank = (hashes >> np.uint64(32)).astype(np.uint32)
    rank[(hashes == 0) | ~_sliding(np.logical_or, loud[1:] | loud[:-1], SPAN)] = _UNUSED
    minima = _sliding(np.minimum, rank, WINDOW)
    # The maximum of the minima of all windows with a segment: the segment is selected if it equals it.
    highest = _sliding(np.maximum, np.pad(minima, WINDOW - 1), WINDOW)
    positions = np.flatnonzero((rank == highest) & (rank < _UNUSED))
    return hashes[positions], positions.astype(np.int32)


def _sliding(reduce: np.ufunc, values: NDArray, window: int) -> NDArray:
    """`reduce` over every `window` neighbouring values; `window` is a power of 2."""
    width = 1
    while width < window:
        values = reduce(values[:-width], values[width:])
        width *= 2
    return values


def _candidates(
    later: Fingerprints, number: int, earlier: Fingerprints
) -> tuple[list[tuple[int, int, int]], bool]:
    """Possible duplicates of clip `number`: (samples in common, other clip, shift), the longest first.

    Sample i of the clip is then sample i - shift of the other. Also True if there may be more.
    """
    hashes, positions = later.of_clip[number]
    first = np.searchsorted(earlier.hashes, hashes, "left")
    last = np.searchsorted(earlier.hashes, hashes, "right")
    at = first[:, None] + np.arange(min(MAX_MATCHES, np.max(last - first, initial=0)))
    row, column = np.nonzero(at < last[:, None])
    hit = at[row, column]
    others = earlier.numbers[hit].astype(np.int64)
    shifts = positions[row].astype(np.int64) - earlier.positions[hit]
    if later is earlier:
        others, shifts = others[others != number], shifts[others != number]
    others, shifts = np.unique(np.stack([others, shifts]), axis=1)
    ends = np.minimum(later.lengths[number], earlier.lengths[others] + shifts)
    common = ends - np.maximum(0, shifts)
    long = np.flatnonzero(common >= later.min_samples)
    order = long[np.argsort(-common[long], kind="stable")]
    found = [(int(common[i]), int(others[i]), int(shifts[i])) for i in order]
    return found, _may_miss(later, number, last - first > MAX_MATCHES)


def _may_miss(fingerprints: Fingerprints, number: int, frequent: NDArray[np.bool]) -> bool:
    """True if a common segment may have none but `frequent` fingerprints, (fingerprints of the clip,)."""
    positions = fingerprints.of_clip[number][1]
    edges = np.concatenate([[-1], positions[~frequent], [fingerprints.lengths[number]]])
    after = np.searchsorted(edges, positions[frequent])
    return bool((edges[after] - edges[after - 1] > fingerprints.min_samples - SPAN).any())


def _first_equal(
    later: Fingerprints, number: int, earlier: Fingerprints, candidates: list[tuple[int, int, int]]
) -> Duplicate | None:
    clip = later.bits(np.asarray(later.clips[number]))
    for common, partner, shift in candidates:
        begin = max(0, shift)
        ours = clip[begin : begin + common]
        theirs = earlier.clips[partner][begin - shift : begin - shift + common]
        if (ours[:256] == earlier.bits(theirs[:256])).all() and (ours == earlier.bits(theirs)).all():
            return Duplicate(partner, common, False)
    return None
