"""The structure of mp3 and mp2 files: frames, the first of which may be a header."""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samplernn_theano.data.content import Content

_KBPS = {  # of MPEG 1 or not, layer
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


_SYNC = re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]")

SEARCH = 2**16
"""The first frame begins in so many bytes."""


def length(data: "Content") -> tuple[int, int | None]:
    """Samples in all frames of an mp3 or mp2 file, and those that its header states, if it does."""
    samples, stated = 0, None
    for at, _, count in frames(data):
        number = None if samples else _header(data[at : at + 64])
        if number is None:
            samples += count
        else:
            stated = number * count or None
    return samples, stated


class WithLength(io.RawIOBase):
    """An mp3 file behind a header that states its number of frames.

    libsndfile guesses the length of a file without one by its size, and stops there or reads the tags behind
    the sound; it also needs a whole frame at the beginning.
    """

    def __init__(self, data: "Content", begin: int, number: int) -> None:
        _, version, rate, mode = data[begin : begin + 4]
        head = bytes([0xFF, version | 1, 0x90 | rate & 0x0C, mode])  # 128 or 80 kbit/s, no checksum
        is_mpeg_1, is_mono = version >> 3 & 3 == 3, mode >> 6 == 3
        side = {(True, False): 32, (False, True): 9}.get((is_mpeg_1, is_mono), 17)
        text = head + bytes(side) + b"Xing" + (1).to_bytes(4) + number.to_bytes(4)
        self._data, self._begin, self._at = data, begin, 0
        self._header = text.ljust(_sizes(head)[0], b"\0")

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte, counted from the beginning, the current position or the end."""
        end = len(self._header) + len(self._data) - self._begin
        self._at = offset + (0, self._at, end)[whence]
        return self._at

    def tell(self) -> int:
        """The current position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as the buffer holds, or fewer; none at the end."""
        data = self._header[self._at : self._at + len(buffer)]
        if not data:
            begin = self._at - len(self._header) + self._begin
            data = self._data[begin : begin + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def with_length(data: "Content") -> WithLength | None:
    """The mp3 file behind a header; None if it has one that states a length, or most of it is no mp3."""
    begin, size, number = 0, 0, 0
    for at, length, _ in frames(data):
        stated = None if number else _header(data[at : at + 64])
        if stated or data[at + 1 : at + 2][0] >> 1 & 3 != 1:  # not layer 3
            return None
        if stated is None:
            begin = begin if number else at
            size, number = size + length, number + 1
    return WithLength(data, begin, number) if 2 * size > len(data) - begin else None


def _header(frame: bytes) -> int | None:
    """The number of frames by the header that this frame is, 0 if it states none; None if it is sound."""
    tag = max(frame.find(b"Xing", 0, 42), frame.find(b"Info", 0, 42))
    if tag > 0:
        return int.from_bytes(frame[tag + 8 : tag + 12]) if frame[tag + 7] & 1 else 0
    return 0 if frame[36:40] == b"VBRI" else None


def frames(data: "Content") -> Iterator[tuple[int, int, int]]:
    """First byte, bytes and samples of each frame; none if none begins soon."""
    at, first, begun = 0, True, False
    while at < len(data) and (begun or at < SEARCH):
        size, count = frame(data, at)
        if not size or (first and not frame(data, at + size)[0]):  # a sync by chance
            found = _SYNC.search(data[at + 1 : at + 4098])
            at, first = at + 1 + (found.start() if found else 4096), True
            continue
        yield at, size, count
        at, first, begun = at + size, False, True


def frame(data: "Content", at: int) -> tuple[int, int]:
    """Bytes and samples of the frame at this byte; zeros if none is, or not as a whole."""
    size, samples = _sizes(data[at : at + 4])
    return (size, samples) if at + size <= len(data) else (0, 0)


def _sizes(head: bytes) -> tuple[int, int]:
    """Bytes and samples of a frame by its first four bytes; zeros if they are none of a frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0, 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3 is MPEG 1, 2 is 2, 0 is 2.5
    kbps, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or kbps in (0, 15) or rate == 3:
        return 0, 0
    hertz = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1152 if version == 3 or layer == 2 else 576
    size = samples // 8 * 1000 * _KBPS[version == 3, layer][kbps - 1] // hertz + (head[2] >> 1 & 1)
    return size, samples
