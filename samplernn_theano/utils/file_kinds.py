"""Files of other kinds that are taken for checkpoints: what they are, and what to do."""

import stat
import zipfile
from pathlib import Path

from samplernn_theano.errors import CheckpointError

UNPACKED = "is compressed by {0}; unpack it first: {1} < {2} > unpacked.pkl"
PYTORCH = "is a file of PyTorch, whose GRU and LSTM have other equations and weights; give a checkpoint"
TO_PICKLE = (
    "python -c \"import numpy, pickle; pickle.dump(dict(numpy.load('{}')), open('new.pkl', 'wb'), 2)\""
)

BEGINNINGS = {
    b"\x1f\x8b": UNPACKED.format("gzip", "gunzip", "{0}"),
    b"BZh": UNPACKED.format("bzip2", "bunzip2", "{0}"),
    b"\xfd7zXZ": UNPACKED.format("xz", "unxz", "{0}"),
    b"\x28\xb5\x2f\xfd": UNPACKED.format("zstd", "unzstd", "{0}"),
    b"7z\xbc\xaf": "is an archive of 7-Zip; unpack it first",
    b"Rar!": "is an archive of RAR; unpack it first",
    b"\x93NUMPY": "is one array of NumPy (.npy), and a model has several, by name: give the file of all",
    b"\x89HDF": "is an HDF5 file of another program, such as Keras; give a checkpoint",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19": PYTORCH,
    b"version https://git-lfs": "is a pointer of Git LFS in place of the file; get it with: git lfs pull",
    b"<": "is a web page or XML, perhaps in place of a download that failed; get the file again",
    b"RIFF": "is a sound; give a checkpoint",
}
"""What files that begin with these bytes are."""


def is_zip(path: Path) -> bool:
    """True if a file begins as a zip archive, which checkpoints of this package are."""
    return _beginning(path).startswith(b"PK")


def check_kind(path: Path) -> None:
    """Raise CheckpointError if a file is of a kind that is neither a checkpoint nor a pickle."""
    if path.exists() and not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise CheckpointError(f"{path} is a pipe or a device; give a file.")
    head = _beginning(path)
    found = next((what for start, what in BEGINNINGS.items() if head.startswith(start)), "")
    if head[257:262] == b"ustar":
        found = "is an archive of tar; unpack it first: tar -xf {0}"
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [info.filename for info in archive.infolist()]
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
            return  # damaged
        if any(name.endswith("data.pkl") for name in names):
            found = PYTORCH
        elif names and "about.npy" not in names and all(name.endswith(".npy") for name in names):
            found = (
                "holds arrays that NumPy saved; if they are a model's, make a pickle of them: " + TO_PICKLE
            )
    if found:
        raise CheckpointError(f"{path} {found.format(path)}.")


def _beginning(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with open(path, "rb") as file:
        return file.read(512)
