"""The speech set: the prompts of a telephone system, from two packages of Debian.

Allison Smith reads them, in English and in Spanish, for Asterisk: `asterisk-core-sounds-en-g722` and
`-es-g722`, 16 kHz, CC-BY-SA-3.0. They are no set of the paper: they are recorded speech that anyone can get
within a minute, with the same bytes.
"""

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.request import urlopen

from samplernn_theano.data.recipes import Recipe, by_counts
from samplernn_theano.data.recordings import Found
from samplernn_theano.errors import DataError
from samplernn_theano.utils.files import atomic_write, locked, sha256

SOUNDS = "usr/share/asterisk/sounds"
"""The folder of an unpacked package that holds a folder for each voice."""

LICENCE = {
    "licence": "CC-BY-SA-3.0",
    "origin": "Debian's packages asterisk-core-sounds-en-g722 and -es-g722; © 2003-2010 Allison Smith, who "
    "read them; financial contributions by Digium, Inc.",
}
"""Entries of the manifest."""

RECIPE = Recipe(set="speech", name="speech", sizes=by_counts(32, 32))

NO_VOICE = {
    *("ascending-2tone.g722", "beep.g722", "beeperr.g722", "descending-2tone.g722"),
    *("tt-monkeys.g722", "tt-weasels.g722"),
}
"""Recordings of tones and animals; those in folders named silence are left out too."""


class Package(NamedTuple):
    """A package of Debian."""

    file: str
    sha256: str
    voice: str  # its folder in `SOUNDS`


PACKAGES = (
    Package(
        "asterisk-core-sounds-en-g722_1.6.1-1_all.deb",
        "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
        "en_US_f_Allison",
    ),
    Package(
        "asterisk-core-sounds-es-g722_1.6.1-1_all.deb",
        "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8",
        "es_MX_f_Allison",
    ),
)


def download(folder: Path, server: str) -> None:
    """Download the packages to `folder`, unless they are there; DataError if their bytes are not Debian's."""
    for package in PACKAGES:
        path = folder / package.file
        if path.is_file() and sha256(path) == package.sha256:
            continue
        url = f"{server}/pool/main/a/asterisk-core-sounds/{package.file}"
        hint = "run the command again, or get the package elsewhere and give its folder by --source."
        try:
            with urlopen(url, timeout=30) as response:
                content = response.read()
        except (OSError, HTTPException, ValueError) as error:
            raise DataError(f"{url} cannot be downloaded ({error}); {hint}") from error
        if hashlib.sha256(content).hexdigest() != package.sha256:
            raise DataError(f"The checksum of {url} is not that of Debian's package; {hint}")
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)


def unpack(source: Path, folder: Path) -> Path:
    """Unpack the sounds of all packages in `source` into `folder`; return the folder that holds the voices.

    Without packages that is `source`, or the folder `SOUNDS` in it if a package was unpacked there. Files
    that are there already are not written again: another process may read them.
    """
    packages = sorted(source.glob("*.deb"))
    for package in packages:
        try:
            with locked(folder), package.open("rb") as file, tarfile.open(fileobj=_data(file)) as archive:
                archive.extractall(folder, _new_sounds(archive, folder), filter="data")
        except (ValueError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
            raise DataError(f"{package} is not a whole package of Debian ({error}); get it again.") from error
    top = folder if packages else source
    return top / SOUNDS if (top / SOUNDS).is_dir() else top


def _data(file: BinaryIO) -> io.BytesIO:
    """The archive of files in a package, which is an ar archive; ValueError if there is none."""
    if file.read(8) != b"!<arch>\n":
        raise ValueError("it does not begin as an ar archive")
    while header := file.read(60):
        size = int(header[48:58])
        if header.startswith(b"data.tar"):
            return io.BytesIO(file.read(size))
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError("it holds no data.tar")


def _new_sounds(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The sounds in an archive, without those that `folder` holds."""
    for member in archive:
        if member.isfile() and member.name.endswith(".g722"):
            path, sound = folder / member.name, archive.extractfile(member)
            if not (sound and path.is_file() and path.read_bytes() == sound.read()):
                yield member


def voices_only(found: Found) -> tuple[Found, list[str]]:
    """Leave out silence, tones and animals; also return the voices of which there is no recording."""
    kept = [r for r in found.recordings if "silence" not in r.path.parts and r.path.name not in NO_VOICE]
    there = {recording.speaker for recording in kept}
    ignored = found.ignored + len(found.recordings) - len(kept)
    missing = [f"{own.voice} (of {own.file})" for own in PACKAGES if own.voice not in there]
    return found._replace(recordings=kept, ignored=ignored), missing
