"""The structure of Ogg files: pages of one or several streams, each page with a number and a checksum."""

import itertools
import re
import struct
import zlib

from samplernn_theano.data.content import Content, Layout

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_LONGEST_PAGE = 255 * 8192  # samples

UNMARKED = "it has no mark at its end, as if it were cut; compare its length, or get it again."
"""What is doubtful about a file whose end should be marked."""


class _OggStream:
    """The number of the last page of a stream, from its `first` on, and the samples that its pages count."""

    def __init__(self, page: bytes, rate: int) -> None:
        # Samples of the sound at `rate` Hz for each one of the clock.
        self.scale = rate / 48000 if b"OpusHead" in page[:64] else 1
        self.is_sound = re.search(rb"\x01vorbis|OpusHead|Speex   |\x7fFLAC", page[:64]) is not None
        self.number, self.granules = -1, [0]
        self.first = int.from_bytes(page[18:22], "little") if page[5] & 2 else 0

    def length(self, frames: float) -> float:
        """Samples per channel: that of the possible lengths which is nearest to `frames`.

        The clock may begin anywhere, and leap: how much is in such a page is known by the others only.
        """
        steps = [b - a for a, b in itertools.pairwise(self.granules)]
        usual = max((step for step in steps[1:] if step <= _LONGEST_PAGE), default=0)
        sure = [s for i, s in enumerate(steps) if s <= (usual if i == 0 else _LONGEST_PAGE)]
        longest = sum(min(step, _LONGEST_PAGE) for step in steps)
        return min(longest * self.scale, max(sum(sure) * self.scale, frames))


def layout(data: Content, rate: int, frames: int) -> Layout:
    """The layout of an Ogg file: damaged and missing pages are its faults, the lack of an end is a doubt."""
    links: list[dict[int, _OggStream]] = [{}]  # one behind another: streams by serial number, side by side
    at, ended, faults = 0, False, []
    while at >= 0:
        if not (page := _ogg_page(data, at)):
            begin, at = at, data.find(b"OggS", at + 1)
            faults += [f"is damaged at byte {data.begin + begin:,}"] if at >= 0 else []
            end = begin
            continue
        flags, granule, serial, number, checksum = struct.unpack("<5xBqIII", page[:26])
        if flags & 2:
            links += [{}] if any(stream.number for stream in links[-1].values()) else []
            links[-1][serial] = _OggStream(page, rate)
        stream = links[-1].setdefault(serial, _OggStream(page, rate))
        if _ogg_checksum(page) != checksum:
            faults.append(f"is damaged at byte {data.begin + at:,}")
        if number - stream.first != stream.number + 1:
            faults.append(f"lacks the pages before byte {data.begin + at:,}")
        stream.number = number - stream.first
        stream.granules += [granule] if granule > stream.granules[-1] else []
        at, ended = at + len(page), bool(flags & 4)
    if not ended and end < len(data):
        faults.append("breaks off in its last page")
    stated = 0.0
    for link in links:
        sound = next((stream for stream in link.values() if stream.is_sound), None)
        stated += sound.length(float("inf") if faults else frames - stated) if sound else 0
    return Layout(
        stated=stated or None,
        held=stated if len(links) > 1 else 0,
        why="another stream follows the first; ffmpeg -i FILE NEW decodes them one after another",
        fault=faults[0] if faults else None,
        doubt=None if ended else UNMARKED,  # some programs do not mark the last page
        sound=end,
        end=end,
        is_verified=not faults,
    )


def _ogg_page(data: Content, at: int) -> bytes:
    """The page at this byte; empty if none is there as a whole."""
    head = data[at : at + 27]
    if len(head) < 27 or head[:4] != b"OggS":
        return b""
    sizes = data[at + 27 : at + 27 + head[26]]
    end = at + 27 + head[26] + sum(sizes)
    return data[at:end] if len(sizes) == head[26] and end <= len(data) else b""


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of a page, the most significant bit first: that of zlib with all bits reversed."""
    bits = (page[:22] + bytes(4) + page[26:]).translate(_REVERSED)
    return int(f"{zlib.crc32(bits, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)
