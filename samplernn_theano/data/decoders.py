"""Decode sound files in blocks: with libsndfile, or with the program ffmpeg."""

import io
import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import batched
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
import soundfile

from samplernn_theano.data import mp3
from samplernn_theano.data.content import Content
from samplernn_theano.errors import DataError
from samplernn_theano.utils.text import parse_json

SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".flac", ".ogg", ".oga", ".opus", ".mp2", ".mp3", ".sph", ".8svx"),
)
"""File extensions of the sound formats that libsndfile reads."""

FFMPEG_SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".g722", ".gsm", ".m4a", ".m4b", ".mka", ".mp4", ".mpc"),
    *(".spx", ".tta", ".voc", ".webm", ".wma", ".wv"),
)
"""File extensions of the formats that need the program ffmpeg."""

BLOCK = 1 << 18
"""Samples per channel in a block of decoding."""


class Source(NamedTuple):
    """A file during decoding."""

    form: str  # name of its format
    rate: int  # Hz
    channels: int
    stated: float | None  # samples per channel by its header
    width: int | None  # bytes of a sample of all channels; None if they are compressed
    blocks: Iterator[np.ndarray]  # float32 (frames, channels) each, up to the first fault
    faults: list[str]  # why not all could be decoded
    tracks: int = 1  # of sound; the first is decoded


@contextmanager
def open_source(path: Path, file: BinaryIO) -> Iterator[Source]:
    """Open a sound file for decoding.

    Files with one of `FFMPEG_SUFFIXES` are decoded by ffmpeg, all others by libsndfile; a file whose content
    is not what its name says is decoded by the other one.
    """
    for_ffmpeg = path.suffix.lower() in FFMPEG_SUFFIXES
    installed = shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
    if for_ffmpeg and installed:
        opened = _with_ffmpeg(path, _probe(path))
    else:
        try:
            opened = _with_libsndfile(*_open(file))
        except soundfile.LibsndfileError as error:
            found = None
            if for_ffmpeg:
                raise DataError(
                    f"{path} is a {path.suffix.lower()} file, which needs ffmpeg; install it (Debian: apt "
                    "install ffmpeg; conda: conda install -c conda-forge ffmpeg), or convert the file to wav."
                ) from error
            with suppress(DataError):
                found = _probe(path) if installed else None
            if found is None or found.score <= 25:  # a guess
                raise undecodable(path, error.error_string) from error
            opened = _with_ffmpeg(path, found)
    with opened as source:
        yield source


def undecodable(path: Path, reason: str) -> DataError:
    """The error of a file that cannot be decoded, or not to its end."""
    reason = reason.strip().rstrip(".").removeprefix("Error : ")
    return DataError(f"{path} cannot be decoded ({reason}); convert it to wav or flac, or remove it.")


# --- ffmpeg -------------------------------------------------------------------------------------------------

_DEMUXERS = (
    "aa,aac,aax,ac3,act,adx,aiff,amr,amrnb,amrwb,ape,asf,ast,au,avi,bfstm,brstm,caf,"
    "codec2,dsf,dts,dtshd,eac3,epaf,flac,flv,g722,g723_1,g726,g729,gsm,hca,hcom,iff,"
    "ilbc,ircam,loas,lvf,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,"
    "oma,paf,pvf,qcp,rm,sbc,sds,shn,sln,sol,sox,swf,tak,truehd,tta,voc,vqf,w64,wav,"
    "wsd,wtv,wv,xwma"
)
"""ffmpeg's names of formats that hold sound. Others, as playlists, make it read other files or addresses."""

_INPUT = ["-format_whitelist", _DEMUXERS, "-i"]

_RAW = {"aac", "ac3", "amr", "amrnb", "amrwb", "eac3", "g722", "gsm", "mp3"}  # without a header of their own


_LINE = re.compile(r"(?:\[(?:dec:)?([^@\]]+) @ \w+\] ?)?(.*)")
"""A message of ffmpeg: the part of it that speaks, and the text."""


class _Probe(NamedTuple):
    """What ffprobe tells of a file."""

    form: str
    score: int  # how sure it is of the format: 100 at most
    seconds: float | None  # of the sound, if stated
    others: set[str]  # decoders of other streams
    tracks: int  # of sound


def _probe(path: Path) -> _Probe:
    """What ffprobe tells of a file; DataError if it does not know it, or finds no sound."""
    entries = "stream=codec_type,codec_name,duration:format=format_name,duration,probe_score"
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", *_INPUT, _url(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ffprobe ended with status {done.returncode}"]
        reason = _LINE.sub(r"\2", lines[0]).removeprefix(f"{_url(path)}: ")
        is_other = "not on whitelist" in reason
        raise undecodable(path, "it is of a format that holds no sound itself" if is_other else reason)
    told = parse_json(done.stdout)
    streams, whole = told["streams"], told["format"]
    tracks = [stream for stream in streams if stream["codec_type"] == "audio"]
    if not tracks:
        raise undecodable(path, "it holds no sound")
    sound = tracks[0]
    # The file is as long as its longest stream.
    seconds = sound.get("duration") or (whole.get("duration") if len(streams) == 1 else None)
    stated = None if seconds is None or whole["format_name"] in _RAW else float(seconds)
    others = {stream.get("codec_name", "") for stream in streams} - {sound.get("codec_name")}
    return _Probe(whole["format_name"], whole["probe_score"], stated, others, len(tracks))


def _url(path: Path) -> str:
    """A file for ffmpeg, without the ID3v1 tag at its end: some decoders read it as sound."""
    url = f"file:{path.absolute()}"  # otherwise a name is read as an option or a URL
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END) - 128
        file.seek(max(0, end))
        return f"subfile,,start,0,end,{end},,:{url}" if end > 0 and file.read(3) == b"TAG" else url


@contextmanager
def _with_ffmpeg(path: Path, probe: _Probe) -> Iterator[Source]:
    """Decode in a process that writes an au file of 32-bit floats into a pipe."""
    command = ["ffmpeg", "-nostdin", "-v", "repeat+error", "-err_detect", "crccheck+bitstream+explode"]
    command += [*_INPUT, _url(path), "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages
        ) as process,
    ):
        assert process.stdout is not None
        faults: list[str] = []
        header = process.stdout.read(24)
        if len(header) < 24:
            faults += _faults(path, probe, process, messages)
            raise undecodable(path, faults[0] if faults else "ffmpeg decodes nothing")
        begin, rate, channels = struct.unpack("> 4x I 8x I I", header)
        process.stdout.read(begin - 24)

        def blocks(pipe: IO[bytes]) -> Iterator[np.ndarray]:
            while data := pipe.read(4 * channels * BLOCK):
                frames = len(data) // (4 * channels)  # incomplete last frame if ffmpeg failed
                yield np.frombuffer(data, ">f4", frames * channels).astype(np.float32).reshape(-1, channels)
            faults.extend(_faults(path, probe, process, messages))

        stated = None if probe.seconds is None else probe.seconds * rate
        yield Source(probe.form, rate, channels, stated, None, blocks(process.stdout), faults, probe.tracks)


def _faults(path: Path, probe: _Probe, process: subprocess.Popen, messages: BinaryIO) -> list[str]:
    """Wait for ffmpeg to exit; what it says against the sound: it goes on after errors and exits with 0.

    Errors in pictures and chapters do not matter, nor those of the container if it states a length.
    """
    status = process.wait()
    messages.seek(0)
    faults = []
    for line in messages.read().decode(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match and match[2] and match[1] not in probe.others | ({probe.form} if probe.seconds else set()):
            faults.append(match[2].removeprefix(f"{_url(path)}: "))
    return faults or [f"ffmpeg ended with status {status}"] * (status != 0)


# --- libsndfile ---------------------------------------------------------------------------------------------

_WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_WIDTHS |= {"ULAW": 1, "ALAW": 1}


class _Stream(soundfile.SoundFile):
    """A sound file that is read sequentially.

    After each block `SoundFile.read` seeks to its current position, unless the file is not seekable. In mp3
    that damages the sound, because the decoder needs the preceding data.
    """

    def seekable(self) -> bool:
        return False


class _FlacOfAnyLength(io.RawIOBase):
    """A FLAC file whose header does not state the length."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell  # type: ignore[method-assign]

    def readinto(self, buffer: Any) -> int:
        at = self._file.tell()
        data = bytearray(self._file.read(len(buffer)))
        for i in range(max(at, 21), min(at + len(data), 26)):
            data[i - at] &= 0xF0 if i == 21 else 0
        buffer[: len(data)] = bytes(data)
        return len(data)


def _open(file: BinaryIO) -> tuple[_Stream, float | None]:
    """A stream, and the samples per channel that its header states. libsndfile stops there, but in FLAC."""
    head = file.read(26)
    file.seek(0)
    total = int.from_bytes(head[21:], "big") & (1 << 36) - 1 if head[:4] == b"fLaC" else 0
    with _SilentDecoder():
        try:
            stream = _Stream(_FlacOfAnyLength(file) if total else file.fileno(), closefd=False)
            again = mp3.with_length(Content(file)) if stream.format == "MP3" else None
        except soundfile.LibsndfileError:
            again = mp3.with_length(Content(file))
            if again is None:
                raise
        stream = _Stream(again) if again else stream
    if total or stream.format == "MP3" or stream.frames >= 2**62:
        return stream, total or None
    return stream, stream.frames


@contextmanager
def _with_libsndfile(stream: _Stream, stated: float | None) -> Iterator[Source]:
    faults: list[str] = []

    def steps() -> Iterator[np.ndarray]:
        frames = 0
        # Without reading beyond the end, the decoder of mp3 stops at the last frame.
        while frames < stream.frames:
            limit = int(stated) if stated and frames < stated else stream.frames
            try:
                with _SilentDecoder() if stream.subtype.startswith("MPEG") else nullcontext():
                    step = np.full((min(BLOCK // 16, limit - frames), stream.channels), np.nan, np.float32)
                    step = stream.read(out=step)
            except soundfile.LibsndfileError as error:
                if not stated or frames < stated:  # what follows may be a tag
                    faults.append(error.error_string)
                    yield step[: np.argmax(np.isnan(step[:, 0]))]  # what could be decoded before
                return
            if not len(step):
                return
            frames += len(step)
            yield step

    def blocks() -> Iterator[np.ndarray]:
        for group in batched(steps(), 16):
            yield np.concatenate(group)

    width = _WIDTHS.get(stream.subtype, 0) * stream.channels or None
    with stream:
        yield Source(stream.format, stream.samplerate, stream.channels, stated, width, blocks(), faults)


class _SilentDecoder:
    """While it is active, nothing reaches the file of the standard error: libsndfile's decoder of mp3 prints.

    Several threads may enter it at once. `utils.progress` writes to a copy of that file.
    """

    _lock, _inside, _saved = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        kind = type(self)
        with kind._lock:
            kind._inside += 1
            if kind._inside == 1:
                with suppress(OSError):  # there is no standard error
                    kind._saved = os.dup(2)
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, 2)
                    os.close(nowhere)

    def __exit__(self, *error: object) -> None:
        kind = type(self)
        with kind._lock:
            kind._inside -= 1
            if kind._inside == 0 and kind._saved >= 0:
                os.dup2(kind._saved, 2)
                os.close(kind._saved)
                kind._saved = -1
