"""Hold the sound that was decoded against what its file states, and against what the file holds.

Decoders pass over lost pages, stop where a header says so, and do not look for a second file behind the
first, all without an error. What is missing for such a reason is found here, by the structure of the file.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from samplernn_theano.data import flac, mp3, ogg
from samplernn_theano.data.content import BLOCKS, Content, Layout, untagged
from samplernn_theano.data.decoders import Source, undecodable
from samplernn_theano.errors import DataError

TOLERANCE = 0.1
"""Seconds by which lengths may differ: some programs write them imprecisely."""

_KEEP = "get it again, or keep what can be decoded (ffmpeg -i FILE NEW)"


def check(path: Path, data: Content, source: Source, frames: int) -> str | None:
    """Refuse a file that states or holds other than `frames` samples per channel; return a doubt, or None."""
    rate, found = source.rate, layout(data, source, frames)
    stated, tolerance = found.stated, TOLERANCE * rate + found.slack
    seconds = f"{frames / rate:.2f} s"
    if not frames and source.faults:
        raise undecodable(path, source.faults[0])
    if found.fault:
        of = f" of {stated / rate:.2f} s" if stated and stated > frames + tolerance else ""
        raise DataError(f"{path} {found.fault}: {seconds}{of} can be decoded; {_KEEP}.")
    if second := _second_file(data, found):
        begin, head = second + data.begin, data[second : second + 8]
        same = head[:4] == data[:4] or head[4:] == data[4:8]
        first = min(frames, stated or frames) / rate
        held = f"about {first * len(data) / second:.2f} s of sound" if same else f"more than {first:.2f} s"
        raise DataError(
            f"{path} holds {held}, of which {first:.2f} s can be decoded: a second file begins at byte "
            f"{begin:,}; get it again, or split it (head -c {begin} FILE, and tail -c +{begin + 1} FILE)."
        )
    if found.held > frames + tolerance:
        raise DataError(
            f"{path} holds {found.held / rate:.2f} s of sound, of which {seconds} can be decoded: "
            f"{found.why}."
        )
    if stated is not None and frames < stated - tolerance:
        raise DataError(f"{path} ends early: {seconds} of {stated / rate:.2f} s are there; {_KEEP}.")
    # A piece that was cut out of an Ogg file begins with more than its pages count.
    if stated is not None and frames > stated + tolerance + BLOCKS and not found.is_verified:
        raise DataError(f"{path} states {stated / rate:.2f} s, but {seconds} were decoded; {_remedy(data)}.")
    if found.is_verified:  # then the decoder complains of what is not sound
        source.faults.clear()
    return found.doubt


def _remedy(data: Content) -> str:
    """What mends a file whose header states too little; ffmpeg believes the headers of other formats."""
    if data[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return "ffmpeg -ignore_length 1 -i FILE -c copy NEW.wav mends it if its header is wrong"
    if data[:4] in (b".snd", b"NIST"):
        return "ffmpeg -i FILE -c copy NEW.au mends it if its header is wrong"
    return _KEEP if data[:4] == b"fLaC" else "get it again, or split or repair it"


def layout(data: Content, source: Source, frames: int) -> Layout:
    """The layout of the file `data`, of which `frames` samples per channel were decoded."""
    magic = data[:16]
    if magic[:4] == b"OggS":
        return ogg.layout(data, source.rate, frames)
    if source.form.upper() == "MP3":
        held, stated = mp3.length(data)
        why = f"a part is damaged, or libsndfile takes it for shorter; {_KEEP}"
        return Layout(stated, held, why, BLOCKS)
    if magic == _WMA:
        seconds = _wma_seconds(data)
        return Layout(None if seconds is None else seconds * source.rate)
    if magic[:4] == b"fLaC":
        held = flac.samples_by_frames(data)
        is_less = source.stated and held > source.stated + TOLERANCE * source.rate
        why = f"its header states less; {_KEEP}"
        return Layout(source.stated or held or None, held if is_less else 0, why, end=1)
    if magic[4:8] == b"ftyp":
        return Layout(source.stated or None, sound=12, end=_end_of_boxes(data))
    if magic[:4] == b"\x1a\x45\xdf\xa3":
        end = _end_of_segment(data)
        return Layout(source.stated or None, sound=end, end=end)
    if magic[:4] == b"Crea":
        return _voc(data, source, frames)
    return _chunks(data, source, frames)


# --- a second file ------------------------------------------------------------------------------------------

_SIGNATURES = [  # how files begin: four bytes to be searched for, and what follows them
    *((magic, rb"....WAVE") for magic in (b"RIFF", b"RIFX", b"RF64", b"BW64")),
    (b"FORM", rb"....(AIF[FC]|8SVX|16SV)"),
    (b"riff", rb"\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"),
    (b".snd", rb"\0\0[\0-\x0f]"),
    (b"dns.", rb".[\0-\x0f]\0\0"),
    (b"caff", rb"\x00\x01\0\0"),
    (b"fLaC", rb"[\0\x80]\0\0\x22"),
    (b"NIST", rb"_1A\n"),
    (b"Crea", rb"tive Voice File\x1a"),
    (b"ftyp", rb"(?!hei|mif|msf|avi|jxl)[ -~]{4}"),  # not pictures
    (b"\x30\x26\xb2\x75", rb"\x8e\x66\xcf\x11\xa6\xd9\0\xaa"),  # wma
    (b"\x1a\x45\xdf\xa3", rb".{5,64}?(webm|matroska)"),
    (b"TTA1", rb"[\x01\x03]\0.\0[\x08\x10\x18\x20]\0"),
    (b"wvpk", rb".{4}..\0[\0\1]?.{4}\0\0\0\0.\x08"),
    (b"MAC ", rb"[\x80-\xff]\x0f.{2}\x34\0\0\0"),
    (b"MPCK", rb"SH"),
    (b"#!AM", rb"R(-WB)?\n"),
    (b"OggS", rb"\0\x02.{8}.{4}\0\0\0\0"),
]
_MP3 = re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xef]")
_MP3_RUN = 12
"""Frames of mp3 in a row that are a file of their own; in containers fewer follow each other."""


def _second_file(data: Content, found: Layout) -> int:
    """Where another file begins behind the sound; 0 if none does."""
    second = _run_of_mp3(data, found.end)
    patterns = [(magic, re.compile(behind, re.DOTALL)) for magic, behind in _SIGNATURES]
    for at, block in data.blocks(found.sound, more=96):
        if not block.strip(b"\0"):
            continue
        for magic, behind in patterns:
            place = block.find(magic)
            while place >= 0 and not _begins(data, block, at, place, behind):
                place = block.find(magic, place + 1)
            second = min(second, at + place) if place >= 0 else second
        if second < at + len(block):
            break
    if data[second : second + 4] == b"ftyp":
        second -= 4
    return second if second < len(data) else 0


def _run_of_mp3(data: Content, begin: int) -> int:
    """First byte of a long run of frames of mp3 from `begin` on; the length of the data if there is none."""
    for at, block in data.blocks(begin, more=4):
        for sync in _MP3.finditer(block):
            end = at + sync.start()
            for _ in range(_MP3_RUN):
                size = mp3.frame(data, end)[0]
                end += size
                if not size:
                    break
            else:
                return at + sync.start()
    return len(data)


def _begins(data: Content, block: bytes, at: int, place: int, behind: re.Pattern[bytes]) -> bool:
    if block[place : place + 4] == b"ftyp" and data[max(0, at + place - 4) : at + place][:2] != b"\0\0":
        return False
    return behind.match(block, place + 4) is not None


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
_SOUND = (b"data", b"SSND", b"BODY")
_KNOWN = (  # chunks that may be cut off at the end of a file; other names may be sound by chance
    *(b"LIST", b"list", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"_PMX", b"cue ", b"smpl", b"inst"),
    *(b"JUNK", b"PAD ", b"FLLR", b"fact", b"PEAK", b"DISP", b"acid", b"umid", b"chna", b"LGWV", b"COMT"),
    *(b"NAME", b"AUTH", b"ANNO", b"APPL", b"MARK", b"INST", b"info", b"pakt", b"free", b"uuid", b"ovvw"),
)


def _chunks(data: Content, source: Source, frames: int) -> Layout:
    """The layout of a file with a part for the sound, whose size is stated before it, as of wav, aiff, au."""
    start, size = _sound_chunk(data)
    there = len(data) - start
    if not start:
        return Layout(source.stated or None)
    # Without a size, the length was not known when the header was written.
    end = start + size if size is not None and size <= there else len(data)
    more, parts = _behind(data, end)
    per_sample = source.width or (min(size or there, there) / frames if frames else 0)
    if not per_sample:
        return Layout(source.stated or None, sound=end, end=end)
    stated, packet = size / per_sample if size else source.stated or None, 0
    if source.width is None and data[:4] == b"caff" and end == start + (size or 0):
        stated, packet = source.stated, int.from_bytes(data[40:44], "big")  # the number of whole packets
    held = (end - start + more) / per_sample
    why = (
        f"{more:,} bytes that are no tag follow the sound that its header states"
        if more
        else "it states less"
    )
    fault = None
    if parts:
        stated, fault = held, "has several parts of sound, of which one is read"
    sound = end if size else start
    return Layout(stated, held, f"{why}; {_remedy(data)}", packet, fault, sound=sound, end=end)


def _sound_chunk(data: Content) -> tuple[int, int | None]:
    """First byte of the sound and number of its bytes by the header: (0, None) if there is no such header."""
    magic, start, size, long_size = data[:4], 0, 0, 0
    if magic in (b".snd", b"dns."):
        start, size = struct.unpack(">II" if magic == b".snd" else "<II", data[4:12])
    elif magic == b"NIST":
        start, size = 1024, 1
        for field in (b"sample_count", b"channel_count", b"sample_n_bytes"):
            found = re.search(field + rb" -\w+ (\d+)", data[:1024])
            size *= int(found[1]) if found else 0
    elif magic in _CHUNKS:
        for name, begin, length in _walk(data, _CHUNKS[magic][0]):
            if name == b"ds64":
                long_size = struct.unpack("<8xQ", data[begin : begin + 16])[0]
            if name in _SOUND:
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


def _behind(data: Content, end: int) -> tuple[int, int]:
    """Bytes behind the sound that are chunks of sound, or neither chunks nor tags; and the former alone."""
    if data[:4] not in _CHUNKS:
        return untagged(data, end), 0
    alignment = _CHUNKS[data[:4]][2]
    counts = []
    for at in {end, end + -end % alignment}:  # some programs do not fill a chunk up
        lost = 0
        for name, begin, size in _walk(data, at):
            whole = 0 <= size <= len(data) - begin and re.fullmatch(rb"[ -~]{2,4}\0*", name)
            if not whole and name not in _KNOWN:
                break
            lost += size if name in _SOUND else 0
            at = begin + size + size % 2
        counts.append((lost + untagged(data, at), lost))
    return min(counts)


# --- voc, mp4, matroska and wma -----------------------------------------------------------------------------


def _voc(data: Content, source: Source, frames: int) -> Layout:
    """The layout of a voc file: blocks, each with a kind and a size. libsndfile reads these as sound too."""
    at, parts = int.from_bytes(data[20:22], "little"), 0
    while len(head := data[at : at + 4]) == 4 and 0 < head[0] < 10:
        at, parts = at + 4 + int.from_bytes(head[1:], "little"), parts + (head[0] in (1, 2, 9))
    fault = "has several parts of sound, which only ffmpeg reads" if parts > 1 and source.width else None
    doubt = None if head else ogg.UNMARKED
    return Layout(frames * at / min(at, len(data)), fault=fault, doubt=doubt, sound=at, end=at)


def _end_of_boxes(data: Content) -> int:
    """First byte behind the boxes of an mp4 file."""
    at = 0
    while len(head := data[at : at + 16]) >= 8 and re.fullmatch(rb"[a-z]{4}", head[4:8]):
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        if size < 8 or at + size > len(data):
            return len(data)
        at += size
    return at


def _end_of_segment(data: Content) -> int:
    """First byte behind the sound of a Matroska file; its end if it was written into a pipe."""
    at = data.find(b"\x18\x53\x80\x67") + 4
    n = 9 - int.from_bytes(data[at : at + 1]).bit_length()  # bytes of its size
    unknown = (1 << 7 * n) - 1
    size = int.from_bytes(data[at : at + n]) & unknown
    return len(data) if size == unknown else at + n + size


_WMA = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_WMA_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _wma_seconds(data: Content) -> float | None:
    """The length by the header, if it states one; ffprobe tells one by the size of the file."""
    at = data[: 2**20].find(_WMA_PROPERTIES)
    if at < 0 or len(data) < at + 92:
        return None
    play, preroll, flags = struct.unpack("<64xQ8xQI", data[at : at + 92])  # 100 ns, ms
    is_broadcast = flags & 1  # then the header was written before the end was known
    return None if is_broadcast or not play else max(0.0, play / 1e7 - preroll / 1e3)
