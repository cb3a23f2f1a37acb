"""The bytes of an open file, and the tags before its content."""

import os
from typing import BinaryIO


class Content:
    """The bytes of an open file, as a sequence; unlike a map in memory they may become fewer at any time."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor, self._size = file.fileno(), os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(0, end - begin), begin)

    def find(self, text: bytes, begin: int = 0, end: int | None = None) -> int:
        """The first place of `text` that begins in [begin, end); -1 if there is none."""
        end = self._size if end is None else min(end, self._size)
        block = 2**12
        while begin < end:
            found = self[begin : min(begin + block, end) + len(text) - 1].find(text)
            if found >= 0:
                return begin + found
            begin, block = begin + block, 2**20
        return -1


def skip_id3(data: Content, at: int) -> int:
    """First byte behind the ID3v2 tags at `at`."""
    while len(head := data[at : at + 10]) == 10 and head[:3] == b"ID3":
        a, b, c, d = head[6:]  # 7 bits each
        at += 10 + (a << 21 | b << 14 | c << 7 | d)
    return at
