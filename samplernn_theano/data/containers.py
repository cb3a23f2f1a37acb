"""Hold the sound that was decoded against what its file states, and against what the file holds.

Decoders pass over lost pages, stop where a header says so, and do not look for a second file behind the
first, all without an error. What is missing for such a reason is found here, by the structure of the file.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from samplernn_theano.data import mp3
from samplernn_theano.data.content import Content, skip_id3
from samplernn_theano.data.decoders import Source
from samplernn_theano.errors import DataError

TOLERANCE = 0.1
"""Seconds by which lengths may differ: some programs write them imprecisely."""

BLOCKS = 4096
"""Samples by which lengths may differ besides: the silence before and after the sound in compressed files."""


def check(path: Path, data: Content, source: Source, frames: int) -> None:
    """Refuse a file of bytes `data` that states or holds other than `frames` samples per channel."""
    rate, stated, tolerance = source.rate, source.stated, TOLERANCE * source.rate
    start, size = _sound_chunk(data)
    held, why = 0.0, "its header states less (ffmpeg -i FILE -c copy NEW mends it)"
    if data[:4] == b"OggS":
        _check_ogg(path, data, frames, rate)
    elif source.form == "MP3":
        held, stated = mp3.length(data)
        tolerance += BLOCKS
        why = "a part is damaged, or libsndfile takes it for shorter"
    elif data[:16] == _WMA:
        seconds = _wma_seconds(data)
        stated = None if seconds is None else seconds * rate
    else:
        held, in_chunk = _chunk(data, start, size, frames, source.width)
        stated = stated if in_chunk is None else in_chunk
    if second := _second_file(data, start):
        first = frames if stated is None else min(frames, stated)
        held, why = max(frames, first * len(data) / second), "a second file follows the first"
        raise _lost(path, first, held, rate, why)
    if held > frames + tolerance:
        raise _lost(path, frames, held, rate, why)
    if stated is not None and frames < stated - tolerance:
        raise _ends_early(path, f"{frames / rate:.2f} s of {stated / rate:.2f} s are there")
    if stated is not None and frames > stated + tolerance + BLOCKS:
        raise DataError(
            f"{path} states {stated / rate:.2f} s, but {frames / rate:.2f} s were decoded; "
            "get it again, or convert it with ffmpeg."
        )


def _lost(path: Path, frames: float, total: float, rate: int, why: str) -> DataError:
    return DataError(
        f"{path} holds {total / rate:.2f} s of sound, of which {frames / rate:.2f} s can be decoded: {why}; "
        "get it again, or split or repair it, with ffmpeg for example."
    )


def _ends_early(path: Path, what: str) -> DataError:
    return DataError(f"{path} ends early: {what}; get it again, or remove it.")


# --- a second file ------------------------------------------------------------------------------------------

_SIGNATURES = [  # how files begin; the group, four bytes without wildcards, is what is searched for
    rb"(RIFF|RIFX|RF64|BW64)....WAVE",
    rb"(FORM)....(AIF[FC]|8SVX|16SV)",
    rb"(riff)\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",
    rb"(\.snd)\0\0\0",
    rb"(caff)\x00\x01\0\0",
    rb"(fLaC)[\0\x80]\0\0\x22",
    rb"(NIST)_1A\n",
    rb"(Crea)tive Voice File\x1a",
    rb"(ftyp)(M4[AB] |mp4\d|isom|iso\d|qt  |3gp\d|dash)",
    rb"(\x30\x26\xb2\x75)\x8e\x66\xcf\x11\xa6\xd9\0\xaa",  # wma
    rb"(\x1a\x45\xdf\xa3).{5,64}?(webm|matroska)",
    rb"(TTA1)[\x01\x03]\0.\0[\x08\x10\x18\x20]\0",
    rb"(wvpk).{4}..\0[\0\1]?.{4}\0\0\0\0.\x08",
    rb"(MAC )[\x80-\xff]\x0f.{2}\x34\0\0\0",
    rb"(MPCK)SH",
    rb"(#!AM)R(-WB)?\n",
]


def _second_file(data: Content, sound: int) -> int:
    """Where another file of the same format begins, behind the first byte of the sound; 0 if none does."""
    begin = skip_id3(data, 0)
    head = data[begin : begin + 96]
    for signature in (re.compile(text, re.DOTALL) for text in _SIGNATURES):
        first = signature.search(head)
        if first is None or first.start() not in (0, 4):
            continue
        at = data.find(first[1], max(sound, begin + first.end()))
        while at >= 0 and not signature.match(data[at : at + 96]):
            at = data.find(first[1], at + 1)
        return max(0, at)
    return 0


# --- Ogg ----------------------------------------------------------------------------------------------------

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _check_ogg(path: Path, data: Content, frames: int, rate: int) -> None:
    """Refuse an Ogg file with a damaged or missing page, with a second stream, or without its end."""
    numbers: dict[int, int] = {}  # the last page of each stream
    at, ended, faults = 0, False, []
    lengths: dict[int, int] = {}  # of each stream of sound, in the samples that its pages count
    while page := _ogg_page(data, at):
        flags, granule, stream, number, checksum = struct.unpack("<5xBqIII", page[:26])
        if re.search(rb"\x01vorbis|OpusHead|Speex   |\x7fFLAC", page[:64]):
            lengths.setdefault(stream, 0)
        if flags & 2 and any(numbers.values()):
            faults.append("another stream follows")
        if _ogg_checksum(page) != checksum:
            faults.append(f"the page at byte {at:,} is damaged")
        if number != numbers.get(stream, number - 1) + 1:
            faults.append(f"pages before byte {at:,} are missing")
        if stream in lengths:
            lengths[stream] = max(lengths[stream], granule)
        numbers[stream] = number
        at, ended = at + len(page), bool(flags & 4)
    if data.find(b"OggS", at + 1) > 0:
        faults.append(f"the bytes from {at:,} on are damaged")
    if faults:
        total = sum(lengths.values()) * (rate / 48000 if b"OpusHead" in data[:64] else 1)
        raise _lost(path, frames, max(total, frames), rate, faults[0])
    # Some programs do not mark the last page: without the mark, the file must end with it.
    if not ended and at < len(data):
        raise _ends_early(path, f"the {frames / rate:.2f} s that can be decoded break off")


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


# --- chunks -------------------------------------------------------------------------------------------------

_CHUNKS = {  # by magic number: offset of the first chunk; format of its name and size; alignment
    b"RIFF": (12, "<4sI", 2),
    b"RIFX": (12, ">4sI", 2),
    b"RF64": (12, "<4sI", 2),
    b"BW64": (12, "<4sI", 2),
    b"FORM": (12, ">4sI", 2),
    b"caff": (8, ">4sq", 1),
    b"riff": (40, "<4s12xQ", 8),  # w64
}


def _chunk(
    data: Content, start: int, size: int | None, frames: int, width: int | None
) -> tuple[float, float | None]:
    """Samples that are there, in the part for the sound and behind it, and those that the header states."""
    there = len(data) - start
    if not start:
        return 0, None
    # Without a size, the length was not known when the header was written.
    held = there if size is None or size > there else size + _behind(data, start + size)
    per_sample = width or (min(size or there, there) / frames if frames else 0)
    if not per_sample:
        return 0, None
    return held / per_sample, size / per_sample if size else None


def _sound_chunk(data: Content) -> tuple[int, int | None]:
    """First byte of the sound and number of its bytes by the header: (0, None) if there is no such header."""
    magic, start, size, long_size = data[:4], 0, 0, 0
    if magic == b".snd":
        start, size = struct.unpack(">II", data[4:12])
    elif magic == b"NIST":
        start, size = 1024, 1
        for field in (b"sample_count", b"channel_count", b"sample_n_bytes"):
            found = re.search(field + rb" -\w+ (\d+)", data[:1024])
            size *= int(found[1]) if found else 0
    elif magic in _CHUNKS:
        for name, begin, length in _walk(data, _CHUNKS[magic][0]):
            if name == b"ds64":
                long_size = struct.unpack("<8xQ", data[begin : begin + 16])[0]
            if name in (b"data", b"SSND", b"BODY"):
                start, size = begin, long_size or length
                break
    unknown = size < 0 or size >= 2**62 or min(abs(size - 2**31), abs(size - 2**32)) <= 2**16
    return start, None if unknown else size


def _walk(data: Content, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and length of each chunk from `at` on."""
    magic = data[:4]
    _, header, alignment = _CHUNKS[magic]
    n = struct.calcsize(header)
    while len(head := data[at : at + n]) == n:
        name, size = struct.unpack(header, head)
        size -= n if magic == b"riff" else 0
        yield name, at + n, size
        at += n + max(0, size + -size % alignment)


def _behind(data: Content, end: int) -> int:
    """Bytes behind the sound that are neither chunks nor zeros."""
    if data[:4] not in _CHUNKS:
        return _untagged(data, end)
    alignment = _CHUNKS[data[:4]][2]
    ends = []
    for at in {end, end + -end % alignment}:  # some programs do not fill a chunk up
        for name, begin, size in _walk(data, at):
            if not re.fullmatch(rb"[ -~]{4}", name) or begin + size > len(data) or size < 0:
                break
            at = begin + size + size % 2
        ends.append(_untagged(data, at))
    return min(ends)


def _untagged(data: Content, at: int) -> int:
    """Bytes from `at` on that are neither tags (ID3, APE) nor zeros."""
    while at < len(data):
        head, begin = data[at : at + 32], at
        if head[:3] == b"ID3":
            at = skip_id3(data, at)
        elif head[:8] == b"APETAGEX":
            at += 32 + int.from_bytes(head[12:16], "little")
        elif head[:3] == b"TAG":
            at += 128
        if at == begin:
            break
    return len(data[at:].rstrip(b"\0"))


# --- wma ----------------------------------------------------------------------------------------------------

_WMA = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_WMA_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _wma_seconds(data: Content) -> float | None:
    """The length by the header, if it states one; ffprobe tells one by the size of the file."""
    at = data.find(_WMA_PROPERTIES, 0, 2**20)
    if at < 0 or len(data) < at + 92:
        return None
    play, preroll, flags = struct.unpack("<64xQ8xQI", data[at : at + 92])  # 100 ns, ms
    is_broadcast = flags & 1  # then the header was written before the end was known
    return None if is_broadcast or not play else max(0.0, play / 1e7 - preroll / 1e3)
