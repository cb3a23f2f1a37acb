"""The structure of mp3 and mp2 files: frames, the first of which may be a header."""

from collections.abc import Iterator

from samplernn_theano.data.content import Content, skip_id3

_KBPS = {  # of MPEG 1 or not, layer
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def length(data: Content) -> tuple[int, int | None]:
    """Samples in all frames of an mp3 or mp2 file, and those that its first frame states, if it does."""
    samples, stated = 0, None
    for at, _, count in frames(data):
        head = data[at : at + 64]
        tag = max(head.find(b"Xing"), head.find(b"Info"))
        if tag > 0 and samples == 0:
            if head[tag + 7] & 1:
                stated = count * int.from_bytes(head[tag + 8 : tag + 12], "big")
        else:
            samples += count
    return samples, stated


def frames(data: Content) -> Iterator[tuple[int, int, int]]:
    """First byte, bytes and samples of each frame."""
    at, first = skip_id3(data, 0), True
    while at < len(data):
        size, count = _frame(data, at)
        if not size or (first and not _frame(data, at + size)[0]):  # a sync by chance
            at = data.find(b"\xff", at + 1)
            at = len(data) if at < 0 else at
            first = True
            continue
        yield at, size, count
        at, first = at + size, False


def _frame(data: Content, at: int) -> tuple[int, int]:
    """Bytes and samples of the frame at this byte; zeros if none is."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0, 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3 is MPEG 1, 2 is 2, 0 is 2.5
    kbps, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or kbps in (0, 15) or rate == 3:
        return 0, 0
    hertz = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1152 if version == 3 or layer == 2 else 576
    size = samples // 8 * 1000 * _KBPS[version == 3, layer][kbps - 1] // hertz + (head[2] >> 1 & 1)
    return (size, samples) if at + size <= len(data) else (0, 0)
