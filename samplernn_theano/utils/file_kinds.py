"""Files of other kinds that are taken for checkpoints: what they are, and what to do."""

import re
import shlex
import stat
import zipfile
from pathlib import Path

from samplernn_theano.errors import CheckpointError

UNPACKED = "is compressed by {0}; unpack it first: {1} < {2} > unpacked.pkl"
ARCHIVE = "is an archive of {0}; unpack it first, and give what is in it"
PYTORCH = "is a file of PyTorch, whose GRU and LSTM have other equations and weights; give a checkpoint"
OF_OTHERS = "is a file of {0}; give a checkpoint of this package or of the original"
SOUND, PICTURE, DOCUMENT = (f"is a {kind}; give a checkpoint" for kind in ("sound", "picture", "document"))
PAGE = "is a web page or XML, perhaps in place of a download that failed; get the file again"
TEXT = "is a text; give a checkpoint (.npz, or .pkl of the original), or the folder of a run"
ARRAYS = (
    "holds arrays that NumPy saved; if they are a model's, make a pickle of them: python -c \"import numpy, "
    "pickle, sys; pickle.dump(dict(numpy.load(sys.argv[1])), open('new.pkl', 'wb'), 2)\" {0}"
)

SIGNATURES = {
    (0, b"\x1f\x8b"): UNPACKED.format("gzip", "gunzip", "{0}"),
    (0, b"\x1f\x9d"): UNPACKED.format("compress", "gunzip", "{0}"),
    (0, b"BZh"): UNPACKED.format("bzip2", "bunzip2", "{0}"),
    (0, b"\xfd7zXZ"): UNPACKED.format("xz", "unxz", "{0}"),
    (0, b"\x5d\0\0"): UNPACKED.format("lzma", "unlzma", "{0}"),
    (0, b"\x28\xb5\x2f\xfd"): UNPACKED.format("zstd", "unzstd", "{0}"),
    (0, b"\x04\x22\x4d\x18"): UNPACKED.format("lz4", "unlz4", "{0}"),
    (0, b"7z\xbc\xaf"): ARCHIVE.format("7-Zip"),
    (0, b"Rar!"): ARCHIVE.format("RAR"),
    (257, b"ustar"): "is an archive of tar; unpack it first: tar -xf {0}",
    (0, b"\x93NUMPY"): "is one array of NumPy (.npy), and a model has several, by name: give the file of all",
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"): PYTORCH,
    (0, b"\x89HDF"): OF_OTHERS.format("another program, such as Keras"),
    (8, b'{"'): OF_OTHERS.format("another program (safetensors)"),
    (0, b"MATLAB"): OF_OTHERS.format("MATLAB"),
    (0, b"SQLite format 3"): OF_OTHERS.format("SQLite"),
    (0, b"\x18\0\0\0\0\0\0\0"): OF_OTHERS.format("TensorBoard"),
    (0, b"version https://git-lfs"): "is a pointer of Git LFS, not the file; get it with: git lfs pull",
    **{(0, start): SOUND for start in (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"FORM", b"caff\0")},
    (4, b"ftyp"): SOUND,
    **{(0, start): PICTURE for start in (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")},
    (0, b"%PDF"): DOCUMENT,
}
"""What files are that have these bytes at an offset."""

PICKLE = re.compile(rb"[(\])}]|\x80[\x00-\x05]|c[\w.]+\r*\n|[SV]['\"]|N[p.]|[IL]-?\d")
"""The beginning of a pickle that may hold a model."""


def is_zip(path: Path) -> bool:
    """True if a file begins as a zip archive, which checkpoints of this package are."""
    return _beginning(path).startswith(b"PK")


def is_safetensors(path: Path) -> bool:
    """True if a file begins as those of safetensors: the length of its header, and the header."""
    return _beginning(path)[4:10] == b'\0\0\0\0{"'


def check_kind(path: Path) -> None:
    """Raise CheckpointError if a file is of a kind that is neither a checkpoint nor a pickle."""
    if path.exists() and not (stat.S_ISREG(path.stat().st_mode) or path.is_dir()):
        raise CheckpointError(f"{path} is a pipe or a device; give a file.")
    head = _beginning(path)
    found = next((what for (at, mark), what in SIGNATURES.items() if head.startswith(mark, at)), "")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") and _is_text(head):
        found = PAGE
    if head.startswith(b"PK"):
        found = _kind_of_zip(path)
    if found:
        raise CheckpointError(f"{path} {found.format(shlex.quote(str(path)))}.")


def kind_of_unreadable(data: bytes) -> str:
    """What a file is whose bytes cannot be read as a pickle, if that is known."""
    is_pickle = PICKLE.match(data) or data.endswith(b".") or not data
    return "" if is_pickle or not _is_text(data[:512]) else TEXT


def _kind_of_zip(path: Path) -> str:
    """What a zip archive is; empty if it is a checkpoint, or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            if "about.npy" in names:
                return ""
            heads = [archive.open(name).read(128) for name in names if name.endswith(".npy")]
    except Exception:  # damage can raise anything in zipfile and the modules that unpack
        return ""
    if any(name.endswith("data.pkl") for name in names):
        return PYTORCH
    if any(b"'|O'" in head for head in heads):
        return "holds objects that NumPy saved, which are not read; save arrays of numbers only"
    return ARRAYS if names and len(heads) == len(names) else ARCHIVE.format("other files (zip)")


def _is_text(head: bytes) -> bool:
    return all(c.isprintable() or c in "\t\n\r\f\ufeff" for c in head.decode(errors="ignore"))


def _beginning(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with open(path, "rb") as file:
        return file.read(512)
