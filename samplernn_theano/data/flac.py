"""The structure of FLAC files: frames, each of which has a number."""

import re

from samplernn_theano.data.content import Content

_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\0-\xaf]", re.DOTALL)


def samples_by_frames(data: Content) -> int:
    """Samples from the first frame to the last one by their numbers; 0 if they are not found."""
    at, last, size = 4, False, int.from_bytes(data[8:10], "big")
    while not last and len(head := data[at : at + 4]) == 4:
        at, last = at + 4 + int.from_bytes(head[1:], "big"), head[0] >= 128
    first = _flac_frame(data[at : at + 20], size)
    ends: set[int] = set()
    begin, tail = max(at, len(data) - 2**18), 0
    block = data[begin : len(data)]
    for found in _FLAC_FRAME.finditer(block):
        if frame := _flac_frame(block[found.start() : found.start() + 20], size):
            # Two that follow each other are not there by chance.
            tail = frame[1] if frame[0] in ends else tail
            ends.add(frame[1])
    return max(0, tail - first[0]) if first else 0


def _flac_frame(head: bytes, size: int) -> tuple[int, int] | None:
    """First sample of the frame with this header, and the one behind its last; None if it is no header.

    Frames of a constant `size` count frames, others samples.
    """
    if len(head) < 20 or not _FLAC_FRAME.match(head):
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    end = 4 + max(1, ones)
    number = head[4] & 0x7F >> ones
    for byte in head[5:end]:
        number = number << 6 | byte & 0x3F
    code = head[2] >> 4
    in_header = {6: 1, 7: 2}.get(code, 0)
    if in_header:
        samples = int.from_bytes(head[end : end + in_header], "big") + 1
    else:
        samples = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    end += in_header + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    check = 0
    for byte in head[:end]:
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ (7 if check & 128 else 0)) & 0xFF
    begin = number * size if head[1] == 0xF8 else number
    return (begin, begin + samples) if end < 20 and check == head[end] else None
