"""Encoding of sound as wav, flac or ogg, block by block: a file may be larger than the memory."""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters

FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
"""Storage format of the samples, by suffix of the file."""

TAGS = ("title", "artist", "album", "comment", "copyright", "date", "genre", "software", "tracknumber")
"""Metadata tags: soundfile's names except "license", which libsndfile does not write in wav."""

VORBIS_QUALITY = 0.6
"""From 0 to 1; 0.6 is ogg's "-q 6", about 40 kbit/s at 16 kHz."""

MAX_TEXT, MAX_SOFTWARE = 2000, 100
"""Maximum bytes of a tag. In a wav, libsndfile reads neither a tag of 2,047 bytes or more nor those after it;
of "software" it keeps 127 bytes including its own version."""

MAX_WAV = 2**32 - 2**16
"""Maximum bytes of sound in a wav: 4 GiB, the limit of its header, less room for the tags."""

SEGMENT = 2**14
"""Samples encoded at once: libsndfile's Vorbis encoder crashes if given very many."""


def write(
    path: str | os.PathLike[str],
    blocks: Iterable[NDArray[np.floating]],
    metadata: Mapping[str, str],
    float32: bool = False,
) -> None:
    """Write a mono sound of 16 kHz to `path`, in the format of its suffix: .wav, .flac or .ogg.

    Samples of wav and flac are 16-bit integers, rounded as by `pcm_16`. Those of ogg are compressed lossily:
    Vorbis at `VORBIS_QUALITY`.

    The same sound and metadata give the same bytes with the same version of libsndfile, however the sound is
    split into blocks. To that end the time in the header of a float wav and the random serial number of an
    ogg are set to 0.

    Parameters
    ----------
    blocks : iterable of (samples,) each
        Amplitudes, -1 to 1. Each block is released before the next one is requested.
    metadata : mapping of a name in `TAGS` to text
        Control characters are escaped. Texts are truncated to `MAX_TEXT` bytes of UTF-8; "software", to which
        libsndfile adds its version, to `MAX_SOFTWARE`. Empty ones are left out.
    float32 : bool
        Write a wav of 32-bit floats, which keeps the samples exactly, beyond full scale too.

    Raises
    ------
    OutputError
        If the suffix is another, the file cannot be written, the sound is empty, a sample is NaN or infinite,
        or a wav exceeds 4 GiB.
    ValueError
        If `metadata` has an unknown tag.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(
            f"{path} was not written: its name must end in .wav, .flac or .ogg, which sets its format."
        )
    if float32 and suffix != ".wav":
        raise OutputError(f"{path} was not written: samples of 32-bit floats need a name that ends in .wav.")
    if unknown := metadata.keys() - set(TAGS):
        raise ValueError(f"no such metadata: {', '.join(sorted(unknown))}; there are {', '.join(TAGS)}")
    with atomic_write(path) as temporary:
        try:
            _encode(path, temporary, blocks, metadata, float32)
        except soundfile.LibsndfileError as error:
            with open(temporary, "ab") as file:  # raises the cause; libsndfile only reports "System error"
                file.write(bytes(2**16))
            raise OutputError(f"Could not write {path}: {error.error_string}") from error
        if suffix == ".ogg":
            _set_serial_number(temporary)
        elif float32:
            _set_time(temporary)


def check_size(path: Path, n_samples: int, float32: bool) -> None:
    """Raise OutputError if `n_samples` do not fit into the file."""
    if path.suffix.lower() == ".wav" and n_samples * (4 if float32 else 2) > MAX_WAV:
        hours = MAX_WAV / (4 if float32 else 2) / SAMPLE_RATE / 3600
        raise OutputError(
            f"{path} was not written: a wav file cannot be larger than 4 GiB, {hours:.1f} h of this sound; "
            "choose flac, or make it shorter."
        )


def _encode(
    path: Path,
    temporary: Path,
    blocks: Iterable[NDArray[np.floating]],
    metadata: Mapping[str, str],
    float32: bool,
) -> None:
    suffix = path.suffix.lower()
    quality = {"compression_level": 1 - VORBIS_QUALITY} if suffix == ".ogg" else {}
    subtype = "FLOAT" if float32 else FORMATS[suffix]
    with soundfile.SoundFile(
        os.fsencode(temporary), "w", SAMPLE_RATE, 1, subtype, format=suffix[1:].upper(), **quality
    ) as file:
        for name, text in metadata.items():
            if text:
                max_bytes = MAX_SOFTWARE if name == "software" else MAX_TEXT
                setattr(file, name, _truncated(escape_control_characters(text), max_bytes))
        done = 0
        for segment in _segments(blocks):
            if not np.isfinite(segment).all():
                raise OutputError(f"{path} was not written: the sound holds NaN or infinite samples.")
            done += len(segment)
            check_size(path, done, float32)
            file.write(pcm_16(segment) if subtype == "PCM_16" else segment)
        if not done:  # libsndfile would make a flac or an ogg that it cannot read
            raise OutputError(f"{path} was not written: the sound is empty.")


def pcm_16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Amplitudes as 16-bit integers: 32768 x rounded to the nearest, clipped to -32768 .. 32767."""
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)


def _truncated(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")  # drops a partial character


def _segments(blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
    """Split the sound into segments of `SEGMENT` samples, float32: the pages of Vorbis depend on them."""
    waiting = np.empty(0, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, np.asarray(block, np.float32)])
        whole = len(waiting) // SEGMENT * SEGMENT
        for start in range(0, whole, SEGMENT):
            yield waiting[start : start + SEGMENT]
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


# --- reproducible bytes -------------------------------------------------------------------------------------


def _set_time(path: Path) -> None:
    """Set the time in the chunk "PEAK" of a wav, with which a float file begins, to 0."""
    with open(path, "r+b") as file:
        chunk = file.read(128).find(b"PEAK")
        if chunk >= 0:
            file.seek(chunk + 12)  # after the name, the size and the version
            file.write(bytes(4))


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page: bytes) -> int:
    """Checksum of a page (RFC 3533): CRC-32 from 0, most significant bit first, not inverted.

    zlib's is least significant bit first and inverted; therefore the bits of all bytes are reversed.
    """
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def _set_serial_number(path: Path) -> None:
    """Set the serial number of the only stream in an ogg file to 0, on each of its pages."""
    with open(path, "r+b") as file:
        while len(head := file.read(27)) == 27:
            sizes = file.read(head[26])
            rest = sizes + file.read(sum(sizes))
            head = head[:14] + bytes(4) + head[18:22] + bytes(4) + head[26:]
            crc = struct.pack("<I", _ogg_crc(head + rest))
            file.seek(-len(head + rest), os.SEEK_CUR)
            file.write(head[:22] + crc + head[26:] + rest)
