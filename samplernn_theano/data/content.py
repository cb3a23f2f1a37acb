"""The bytes of a sound file, what in them is no sound, and what their structure tells of the sound."""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCKS = 4096
"""Samples by which lengths may differ: the silence before and after the sound in compressed files."""


class Content:
    """The bytes of an open file behind its ID3v2 tags; unlike a map in memory they may become fewer."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor, self.begin, self._size = file.fileno(), 0, os.fstat(file.fileno()).st_size
        begin = skip_id3(self, 0)
        self.begin, self._size = begin, max(0, self._size - begin)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(0, end - begin), self.begin + begin)

    def blocks(self, begin: int, size: int = 2**20, more: int = 0) -> Iterator[tuple[int, bytes]]:
        """From `begin` on, places and blocks of `size` bytes and `more` of the next one, at first shorter."""
        short = 2**12
        while begin < self._size:
            step = min(short, size)
            yield begin, self[begin : begin + step + more]
            begin, short = begin + step, size

    def find(self, text: bytes, begin: int = 0) -> int:
        """The first place of `text` from `begin` on; -1 if there is none."""
        for at, block in self.blocks(begin, more=len(text) - 1):
            if (found := block.find(text)) >= 0:
                return at + found
        return -1


class Layout(NamedTuple):
    """The length of the sound in samples per channel, and where other things may begin."""

    stated: float | None = None  # by the container
    held: float = 0  # in the file; 0 if its structure does not tell
    why: str = ""  # why not all that is held can be decoded, and what to do
    slack: int = 0  # by how much `held` and `stated` may differ from what is decoded
    fault: str | None = None  # what is damaged or missing, so that the file is to be refused
    doubt: str | None = None
    sound: int = 1  # from this byte on another file may begin
    is_verified: bool = False  # checksums say that nothing is damaged
    end: int = 2**62  # from this byte on no frames of mp3 belong to the file itself


_TEXT = bytes([9, 10, 13, *range(32, 127)])


def skip_id3(data: Content, at: int) -> int:
    """First byte behind the ID3v2 tags at `at`."""
    while len(head := data[at : at + 10]) == 10 and head[:3] == b"ID3":
        a, b, c, d = head[6:]  # 7 bits each
        at += 10 + (a << 21 | b << 14 | c << 7 | d)
    return at


def untagged(data: Content, at: int) -> int:
    """Bytes from `at` on that may be sound: neither tags (ID3, APE), nor text, nor one value repeated."""
    end, before = len(data), -1
    while before != end - at > 0:
        before = end - at
        head, tail = data[at : at + 32], data[max(at, end - 128) : end]
        if head[:3] == b"ID3":
            at = skip_id3(data, at)
        elif head[:8] == b"APETAGEX":
            at += 32 + int.from_bytes(head[12:16], "little")
        elif tail[:3] == b"TAG" and len(tail) == 128:
            end -= 128
        elif tail[-32:-24] == b"APETAGEX":  # without a header
            end -= int.from_bytes(tail[-20:-16], "little")
    tail = data[max(at, end - 16) : end]
    last, is_text, value = at, True, tail[:1] if tail == tail[:1] * 16 else b""
    for begin, block in data.blocks(at):
        block = block[: max(0, end - begin)]
        is_text = is_text and not block.translate(None, _TEXT)
        last = begin + kept if (kept := len(block.rstrip(value))) else last
    return 0 if is_text else max(0, last - at)
