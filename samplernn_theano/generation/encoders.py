"""Generated sound written as wav, flac or ogg, block by block: a file may be longer than the memory."""

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
from samplernn_theano.utils.text import visible

FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
"""How the samples are stored, by what the name of the file ends in."""

TAGS = ("title", "artist", "album", "comment", "copyright", "date", "genre", "software", "tracknumber")
"""What can be said in a file: soundfile's names, less "license", which libsndfile does not write in wav."""

VORBIS_QUALITY = 0.6
"""Of 0 to 1, ogg's "-q 6": about 40 kbit/s at 16 kHz."""

LONGEST_TEXT, LONGEST_SOFTWARE = 2000, 100
"""Bytes of a tag. In a wav, libsndfile reads neither one of 2,047 bytes or more nor what follows it; of
"software" it keeps 127 bytes, its own version among them."""

LARGEST_WAV = 2**32 - 2**16
"""Bytes of sound in a wav, whose header counts to 4 GiB, less what its tags may take."""

PIECE = 2**14
"""Samples that are encoded at once: libsndfile's Vorbis encoder crashes if given very many."""


def write(
    path: str | os.PathLike[str],
    blocks: Iterable[NDArray[np.floating]],
    metadata: Mapping[str, str],
    float32: bool = False,
) -> None:
    """Write a mono sound of 16 kHz to `path`, in the format that its name ends in: .wav, .flac or .ogg.

    The samples of wav and flac are 16-bit integers: the nearest to 32768 x, clipped to -32768 .. 32767, as
    `audio.write_wav` rounds. Those of ogg are compressed with loss: Vorbis at `VORBIS_QUALITY`.

    The same sound and the same texts give the same bytes, however the sound is split into blocks, as long as
    the version of libsndfile is the same. Two things that libsndfile puts into a file are replaced for that:
    the time in the header of a wav of floats becomes 0, and so does the random serial number in an ogg.

    Parameters
    ----------
    blocks : iterable of (samples,) each
        Amplitudes, -1 to 1. A block is let go before the next one is asked for.
    metadata : mapping of a name in `TAGS` to text
        A text is one line: control characters are written out. It is cut after `LONGEST_TEXT` bytes of UTF-8;
        "software", to which libsndfile adds its version, after `LONGEST_SOFTWARE`. Empty ones are left out.
    float32 : bool
        Write a wav of 32-bit floats instead, which keeps the samples as they are, beyond full scale too.

    Raises
    ------
    OutputError
        If the name ends otherwise, the file cannot be written, the sound is empty, a sample is NaN or
        infinite, or a wav grows beyond 4 GiB.
    ValueError
        If `metadata` has another name.
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
            with open(temporary, "ab") as file:  # libsndfile only says "System error"; this says which
                file.write(bytes(2**16))
            raise OutputError(f"Could not write {path}: {error.error_string}") from error
        if suffix == ".ogg":
            _set_serial_number(temporary)
        elif float32:
            _set_time(temporary)


def check_size(path: Path, n_samples: int, float32: bool) -> None:
    """Raise OutputError if so many samples do not fit into the file."""
    if path.suffix.lower() == ".wav" and n_samples * (4 if float32 else 2) > LARGEST_WAV:
        longest = LARGEST_WAV / (4 if float32 else 2) / SAMPLE_RATE / 3600
        raise OutputError(
            f"{path} was not written: a wav file cannot be larger than 4 GiB, {longest:.1f} h of this sound; "
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
                longest = LONGEST_SOFTWARE if name == "software" else LONGEST_TEXT
                setattr(file, name, _shortened(visible(text), longest))
        done = 0
        for piece in _pieces(blocks):
            if not np.isfinite(piece).all():
                raise OutputError(f"{path} was not written: the sound holds NaN or infinite samples.")
            done += len(piece)
            check_size(path, done, float32)
            file.write(pcm_16(piece) if subtype == "PCM_16" else piece)
        if not done:  # libsndfile would make a flac or an ogg that it cannot read
            raise OutputError(f"{path} was not written: the sound is empty.")


def pcm_16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Amplitudes as 16-bit integers: the nearest to 32768 x, clipped to -32768 .. 32767."""
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)


def _shortened(text: str, longest: int) -> str:
    return text.encode()[:longest].decode(errors="ignore")  # no part of a character is left


def _pieces(blocks: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
    """The sound in pieces of `PIECE` samples, float32, whatever the blocks: Vorbis' pages depend on them."""
    waiting = np.empty(0, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, np.asarray(block, np.float32)])
        whole = len(waiting) // PIECE * PIECE
        for start in range(0, whole, PIECE):
            yield waiting[start : start + PIECE]
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


# ---- The same sound, the same bytes


def _set_time(path: Path) -> None:
    """Set the time in the chunk "PEAK" of a wav, with which a float file begins, to 0."""
    with open(path, "r+b") as file:
        chunk = file.read(128).find(b"PEAK")
        if chunk >= 0:
            file.seek(chunk + 12)  # after the name, the size and the version
            file.write(bytes(4))


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page: bytes) -> int:
    """The check sum of a page (RFC 3533): CRC-32 from 0, the highest bit of a byte first, not inverted.

    zlib's goes from the lowest bit on and inverts before and after; so the bits of all bytes are reversed.
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
