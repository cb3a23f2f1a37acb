"""Read sound files of any rate and number of channels as 16 kHz mono, as in the paper; write wav files."""

import math
import mmap
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import numpy as np
import scipy
import soundfile

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".flac", ".ogg", ".oga", ".opus", ".mp2", ".mp3", ".sph", ".voc", ".8svx"),
)
"""File extensions of the sound formats that libsndfile reads."""

FFMPEG_SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".g722", ".gsm", ".m4a", ".m4b", ".mka", ".mp4", ".mpc"),
    *(".spx", ".tta", ".webm", ".wma", ".wv"),
)
"""File extensions of the formats that need the program ffmpeg."""

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Rates (Hz) outside of this range come from damaged headers, and need enormous filters or arrays."""

BLOCK = 1 << 18
"""Samples per channel in a block of decoding."""

TOLERANCE = 0.1
"""Seconds by which a file may be shorter than its header states: some programs write it imprecisely."""


class Sound(NamedTuple):
    """A decoded sound file."""

    samples: np.ndarray
    """float32 (samples,), mono, in [-1, 1), at the requested rate."""
    file_rate: int
    """Samples per second (Hz) in the file."""
    channels: int
    """Channels in the file."""
    clipped: int
    """Number of samples that were outside [-1, 1) and clipped."""


class _Source(NamedTuple):
    """A file during decoding."""

    rate: int  # Hz
    channels: int
    blocks: Iterator[np.ndarray]  # float32 (frames, channels) each


def read(path: str | os.PathLike[str], rate: int = SAMPLE_RATE) -> Sound:
    """Read a recording as mono at `rate` Hz.

    The channels are averaged. Other rates are converted by a polyphase filter (`scipy.signal.resample_poly`)
    to ceil(samples * rate / file_rate) samples. Lossy formats, the filter and float files may exceed full
    scale: samples outside [-1, 1) are clipped and counted. Needs 8 bytes of memory for each returned sample,
    and a few MB.

    Files with `FFMPEG_SUFFIXES` are decoded by the program ffmpeg, all others by libsndfile.

    A file that is shorter than its header states is refused. Some do not state a length, and are read to
    their end: mp3 without a Xing or Info header, raw streams (aac, ac3, amr, g722, gsm), voc, and files that
    were written into a pipe.
    """
    path = Path(path)
    source = _with_ffmpeg if path.suffix.lower() in FFMPEG_SUFFIXES else _with_libsndfile
    highest = np.nextafter(np.float32(1), np.float32(0))
    parts, clipped = [np.empty(0, np.float32)], 0
    try:
        with _open(path) as file, source(path, file) as (file_rate, channels, blocks):
            if not MIN_RATE <= file_rate <= MAX_RATE:
                raise DataError(f"{path} has an impossible sample rate of {file_rate} Hz; export it again.")
            for part in resample((block.mean(axis=1) for block in blocks), file_rate, rate):
                if not np.isfinite(part).all():
                    raise DataError(f"{path} holds samples that are NaN or infinite; export it again.")
                clipped += int(np.count_nonzero((part < -1) | (part >= 1)))
                parts.append(np.clip(part, np.float32(-1), highest))
    except FileNotFoundError as error:
        raise DataError(f"There is no recording {path}; check its name.") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be opened ({error.strerror}); check its permissions, or remove it."
        ) from error
    samples = np.concatenate(parts)
    if samples.size == 0:
        raise DataError(f"{path} holds no samples; remove it or export it again.")
    return Sound(samples, file_rate, channels, clipped)


def read_mono(path: str | os.PathLike[str], rate: int = SAMPLE_RATE) -> np.ndarray:
    """Read a recording as float32 (samples,) in [-1, 1), mono, at `rate` Hz: the samples of `read`."""
    return read(path, rate).samples


def resample(blocks: Iterator[np.ndarray], file_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Convert blocks of sound, float32 (samples,) each, from `file_rate` to `rate` Hz.

    The concatenated result equals `scipy.signal.resample_poly` of the whole sound bit for bit.
    """
    divisor = math.gcd(rate, file_rate)
    up, down = rate // divisor, file_rate // divisor
    if up == down:
        yield from blocks
        return
    # SciPy's filter extends 10 * max(up, down) samples to either side, at up * file_rate Hz. Each part is
    # converted with that context on both sides, in whole steps: `down` samples become `up` samples.
    steps = math.ceil(10 / min(up, down))
    reach, skip = steps * down, steps * up
    waiting = np.zeros(reach, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        count = (len(waiting) - 2 * reach) // down
        if count > 0:
            converted = scipy.signal.resample_poly(waiting[: count * down + 2 * reach], up, down)
            yield converted[skip : skip + count * up]
            waiting = waiting[count * down :]
    yield scipy.signal.resample_poly(waiting, up, down)[skip:]


def write_wav(path: str | os.PathLike[str], samples: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write mono `samples`, floats (samples,) in [-1, 1), to a 16-bit PCM wav file of `rate` Hz, atomically.

    A sample x becomes the integer nearest to 32768 x; values outside [-1, 1) are clipped.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if not np.isfinite(samples).all():
        raise OutputError(f"{path} was not written: the sound holds NaN or infinite samples.")
    integers = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    with atomic_write(path) as temporary:
        scipy.io.wavfile.write(temporary, rate, integers)


def _open(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path} is a folder, a pipe or a device; give a sound file.")
    return open(path, "rb", buffering=0)  # no buffer: libsndfile moves the file position too


def _undecodable(path: Path, reason: str) -> DataError:
    reason = reason.strip().rstrip(".").removeprefix("Error : ")
    return DataError(f"{path} cannot be decoded ({reason}); convert it to wav or flac, or remove it.")


# ---- ffmpeg


@contextmanager
def _with_ffmpeg(path: Path, file: BinaryIO) -> Iterator[_Source]:
    """Decode in a process that writes an au file of 32-bit floats into a pipe."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise DataError(
            f"{path} is a {path.suffix.lower()} file, which needs ffmpeg; install it (Debian: apt install "
            "ffmpeg; conda: conda install -c conda-forge ffmpeg) or convert the file to wav or flac."
        )
    # With "file:" ffmpeg does not read a name as an option or a URL.
    source = ["-i", f"file:{path.absolute()}", "-map", "0:a:0"]
    command = [ffmpeg, "-nostdin", "-v", "error", *source, "-c:a", "pcm_f32be", "-f", "au", "-"]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        ) as process,
    ):
        assert process.stdout is not None
        header = process.stdout.read(24)
        if len(header) < 24:
            raise _undecodable(path, _last_line(path, process, messages))
        begin, rate, channels = struct.unpack("> 4x I 8x I I", header)
        process.stdout.read(begin - 24)

        def blocks(pipe: IO[bytes]) -> Iterator[np.ndarray]:
            while data := pipe.read(4 * channels * BLOCK):
                frames = len(data) // (4 * channels)  # incomplete last frame if ffmpeg failed
                yield np.frombuffer(data, ">f4", frames * channels).astype(np.float32).reshape(-1, channels)
            # ffmpeg continues after errors, and exits with 0 even if the file ends early
            if reason := _last_line(path, process, messages):
                raise _undecodable(path, reason)

        yield _Source(rate, channels, blocks(process.stdout))


def _last_line(path: Path, process: subprocess.Popen, messages: BinaryIO) -> str:
    """Wait for ffmpeg to exit; return its last error message, or "" if it succeeded."""
    status = process.wait()
    messages.seek(0)
    lines = messages.read().decode(errors="replace").split("\n")
    line = next((line for line in reversed(lines) if line.strip()), "")
    if not line and status != 0:
        return f"ffmpeg ended with status {status}"
    if line.startswith("To ignore this"):
        return "it holds no sound"
    return re.sub(r"^\[\S+ @ \S+\] ", "", line).removeprefix(f"file:{path.absolute()}: ")


# ---- libsndfile


class _Stream(soundfile.SoundFile):
    """A sound file that is read sequentially.

    After each block `SoundFile.read` seeks to its current position, unless the file is not seekable. In mp3
    that damages the sound, because the decoder needs the preceding data.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _with_libsndfile(path: Path, file: BinaryIO) -> Iterator[_Source]:
    try:
        with _Stream(file.fileno(), closefd=False) as stream:
            yield _Source(stream.samplerate, stream.channels, _blocks(path, file, stream))
    except soundfile.LibsndfileError as error:
        raise _undecodable(path, error.error_string) from error


def _blocks(path: Path, file: BinaryIO, stream: _Stream) -> Iterator[np.ndarray]:
    frames = 0
    try:
        # Without reading beyond the end, the decoder stops at the last frame, which `_check_mp3` needs.
        while len(block := stream.read(min(BLOCK, stream.frames - frames), dtype="float32", always_2d=True)):
            frames += len(block)
            yield block
    except soundfile.LibsndfileError as error:
        if stream.format != "FLAC":
            raise
        reason = error.error_string.strip().rstrip(".").removeprefix("Error : ")
        raise DataError(f"{path} ends early or is damaged ({reason}); get it again, or remove it.") from error
    check = {"MP3": _check_mp3, "OGG": _check_ogg, "FLAC": _check_flac}.get(stream.format, _check_chunk)
    check(path, file, stream, frames)


def _ends_early(path: Path, frames: float, total: float, rate: int) -> DataError:
    return DataError(
        f"{path} ends early: {frames / rate:.2f} s of {total / rate:.2f} s are there; "
        "get it again, or remove it."
    )


def _check_flac(path: Path, file: BinaryIO, stream: _Stream, frames: int) -> None:
    if frames < stream.frames < 2**62:  # more: unknown
        raise _ends_early(path, frames, stream.frames, stream.samplerate)


def _check_mp3(path: Path, file: BinaryIO, stream: _Stream, frames: int) -> None:
    """Compare with the header. Without one, libsndfile estimates the length, and stops there."""
    size = os.fstat(file.fileno()).st_size
    stopped = file.tell()
    begin = _skip_id3(file, 0)
    head = file.read(64)
    for name in (b"Xing", b"Info"):
        at = head.find(name)
        if 0 <= at < 56 and head[at + 7] & 1:  # the number of frames is stated
            if frames < stream.frames - TOLERANCE * stream.samplerate:
                raise _ends_early(path, frames, stream.frames, stream.samplerate)
    stopped = _skip_id3(file, stopped)
    following = file.read(2)
    if len(following) == 2 and following[0] == 0xFF and following[1] >= 0xE0:  # a frame begins here
        seconds = frames / stream.samplerate
        if seconds * (size - stopped) > TOLERANCE * (stopped - begin):
            raise DataError(
                f"{path} continues after {seconds:.2f} s, where libsndfile assumes its end; "
                "convert it to wav or flac, or remove it."
            )


def _skip_id3(file: BinaryIO, position: int) -> int:
    """Move `file` to the first byte after the ID3v2 tags at `position`; return that position."""
    file.seek(position)
    while len(head := file.read(10)) == 10 and head[:3] == b"ID3":
        a, b, c, d = head[6:]  # 7 bits each
        position += 10 + (a << 21 | b << 14 | c << 7 | d)
        file.seek(position)
    return file.seek(position)


def _check_ogg(path: Path, file: BinaryIO, stream: _Stream, frames: int) -> None:
    """Check that the last page is complete, and that no second stream, which would not be read, follows.

    Some programs do not mark the last page as such: without the mark, the file must end with the page.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        page = data.rfind(b"OggS")
        head = data[page : page + 27]
        sizes = data[page + 27 : page + 27 + head[26]] if len(head) == 27 else b""
        end = page + len(head) + len(sizes) + sum(sizes)
        whole = len(head) == 27 and len(sizes) == head[26] and end <= len(data)
        last = whole and (head[5] & 4 or end == len(data))
        second = data.rfind(b"OggS\0\2") > data.find(b"OggS\0\0") > 0
    seconds = frames / stream.samplerate
    if not last:
        raise DataError(
            f"{path} ends early: the {seconds:.2f} s that can be decoded break off; "
            "get it again, or remove it."
        )
    if second:
        raise DataError(
            f"{path} has another stream after {seconds:.2f} s; convert it to wav or flac, or remove it."
        )


def _check_chunk(path: Path, file: BinaryIO, stream: _Stream, frames: int) -> None:
    """Compare the file size with the header; libsndfile silently uses the smaller."""
    start, size = _stated(file)
    there = os.fstat(file.fileno()).st_size - start
    unknown = size <= 0 or size >= 2**62 or min(abs(size - 2**31), abs(size - 2**32)) <= 2**16
    if unknown or there <= 0:  # sizes written by programs into a pipe
        return
    total = frames * size / there
    if total > frames + TOLERANCE * stream.samplerate:
        raise _ends_early(path, frames, total, stream.samplerate)


_CHUNKS = {  # by magic number: offset of the first chunk; format of its name and size; alignment
    b"RIFF": (12, "<4sI", 2),
    b"RIFX": (12, ">4sI", 2),
    b"RF64": (12, "<4sI", 2),
    b"FORM": (12, ">4sI", 2),
    b"caff": (8, ">4sq", 1),
    b"riff": (40, "<4s12xQ", 8),  # w64
}


def _stated(file: BinaryIO) -> tuple[int, int]:
    """First byte and number of bytes of the sound, as stated in the header; (0, 0) if unknown."""
    file.seek(0)
    magic = file.read(4)
    if magic == b".snd":
        start, size = struct.unpack(">II", file.read(8))
        return start, size
    if magic == b"NIST":
        return _stated_nist(file)
    if magic not in _CHUNKS:
        return 0, 0
    position, header, alignment = _CHUNKS[magic]
    long_size = 0
    while file.seek(position) + struct.calcsize(header) <= os.fstat(file.fileno()).st_size:
        head = file.read(struct.calcsize(header))
        name, size = struct.unpack(header, head)
        if magic == b"riff":
            size -= len(head)
        position += len(head)
        if name in (b"data", b"SSND", b"BODY"):
            return position, long_size or size
        if name == b"ds64":
            long_size = struct.unpack("<8xQ", file.read(16))[0]
        position += max(0, size + -size % alignment)
    return 0, 0


def _stated_nist(file: BinaryIO) -> tuple[int, int]:
    file.seek(0)
    text = file.read(1024)
    size = 1
    for field in (b"sample_count", b"channel_count", b"sample_n_bytes"):
        found = re.search(field + rb" -\w+ (\d+)", text)
        size *= int(found[1]) if found else 0
    return 1024, size
