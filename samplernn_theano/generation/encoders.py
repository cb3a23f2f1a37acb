"""Encoding of sound as wav, flac or ogg, block by block: a file may be larger than the memory."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from samplernn_theano.errors import OutputError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters
from samplernn_theano.utils.version import package_version

FORMATS = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
"""Storage format of the samples, by suffix of the file."""

VORBIS_QUALITY = 0.6  # ogg's "-q 6", about 40 kbit/s at 16 kHz
MAX_TEXT = 2000  # bytes: in a wav, libsndfile reads neither a text of 2,047 or more nor those after it
MAX_WAV = 2**32 - 2**16  # bytes of sound: 4 GiB, the limit of a wav's header, less room for the texts
SEGMENT = 2**14  # samples encoded at once: libsndfile's Vorbis encoder crashes if given very many


def write(
    path: Path,
    blocks: Iterable[NDArray[np.floating]],
    texts: Mapping[str, str],
    float32: bool = False,
    rate: int = SAMPLE_RATE,
) -> None:
    """Write a mono sound to `path`, in the format of its suffix: .wav, .flac or .ogg.

    `blocks` (samples,) are amplitudes from -1 to 1. Wav and flac hold 16-bit integers (see `pcm_16`), with
    `float32` a wav holds the exact samples. `texts` are the tags "title" and "comment", not empty.
    """
    subtype = "FLOAT" if float32 else FORMATS[path.suffix]
    options: dict[str, Any] = {"compression_level": 1 - VORBIS_QUALITY} if path.suffix == ".ogg" else {}
    options |= {"subtype": subtype, "format": path.suffix[1:].upper()}
    with atomic_write(path) as temporary:
        try:
            with soundfile.SoundFile(os.fsencode(temporary), "w", rate, 1, **options) as file:
                for tag, text in {**texts, "software": f"samplernn-theano {package_version()}"}.items():
                    encoded = escape_control_characters(text).encode()[:MAX_TEXT]
                    setattr(file, tag, encoded.decode(errors="ignore"))  # without a partial character
                for block in blocks:
                    if not np.isfinite(block).all():
                        raise OutputError(f"{path} was not written: the sound holds NaN or infinite samples.")
                    for start in range(0, len(block), SEGMENT):
                        x = np.asarray(block[start : start + SEGMENT], np.float32)
                        file.write(pcm_16(x) if subtype == "PCM_16" else x)
        except soundfile.LibsndfileError as error:
            with open(temporary, "ab") as broken:  # raises the cause; libsndfile only reports "System error"
                broken.write(bytes(2**16))
            raise OutputError(f"Could not write {path}: {error.error_string}") from error


def check_size(path: Path, n_samples: int, float32: bool, rate: int = SAMPLE_RATE) -> None:
    """Raise OutputError if `n_samples` do not fit into the file."""
    maximum = MAX_WAV // (4 if float32 else 2)
    if path.suffix == ".wav" and n_samples > maximum:
        hours = maximum / rate / 3600
        raise OutputError(
            f"{path} was not written: a wav file cannot be larger than 4 GiB, {hours:.1f} h of this sound; "
            "choose flac, or make it shorter."
        )


def pcm_16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Amplitudes as 16-bit integers: 32768 x rounded to the nearest, clipped to -32768 .. 32767."""
    return np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
