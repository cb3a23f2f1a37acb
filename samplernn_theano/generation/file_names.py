"""The names of what a generation writes: they tell the run, the checkpoint, the seed and the temperature."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.checkpoints.load import Saved
from samplernn_theano.errors import OutputError
from samplernn_theano.generation import gallery, partial
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


@dataclass(frozen=True)
class Files:
    """Where the sounds of a request go.

    Attributes
    ----------
    folder : Path
    stem : str
        What the names of all files begin with.
    sounds : sequence of Path
        One per sequence.
    float32 : bool
        32-bit floats in place of 16-bit integers.
    """

    folder: Path
    stem: str
    sounds: Sequence[Path]
    float32: bool

    @property
    def record(self) -> Path:
        """What the page says of them."""
        return self.folder / f"{self.stem}.json"

    @property
    def sheet(self) -> Path:
        """The picture of the spectrograms."""
        return self.folder / f"{self.stem}_spectrograms.png"

    @property
    def page(self) -> Path:
        """All that was generated into the folder."""
        return self.folder / gallery.PAGE

    @property
    def spool(self) -> Path:
        """The hidden folder of a generation under way."""
        return self.folder / f".{self.stem}.part"


def default_folder(checkpoint: Path) -> Path:
    """The folder of sounds for a file of parameters: samples in the run it is of, or beside it."""
    folder = checkpoint.parent if checkpoint.parent.name else checkpoint.resolve().parent
    return (folder.parent if folder.name in ("checkpoints", "params") else folder) / "samples"


def name_files(model: Saved, request: Request, folder: Path, suffix: str, float32: bool) -> Files:
    """Names that tell the run, the checkpoint, the seed, the temperature, and what else is not usual."""
    path = model.path.resolve()
    # Checkpoints of ours bear the same names in every run. The original's tell; its runs' are long.
    run = f"{path.parent.parent.name[:40]}_" if path.parent.name == "checkpoints" else ""
    rest = f"_p{request.top_p:g}" * (request.top_p < 1)
    if request.silent:
        rest += f"_silence{request.silent.start / SAMPLE_RATE:g}-{request.silent.stop / SAMPLE_RATE:g}"
    first = f"{run}{path.stem}_seed{request.seed}"
    if request.like_original:
        stem = f"{run}{path.stem}_like-original_g{request.generation}"
        return Files(folder, stem, [folder / f"{stem}_{i}.wav" for i in range(request.n_seqs)], True)
    low, high = min(request.temperature), max(request.temperature)
    stem = f"{first}_t{low:g}" + f"-{high:g}" * (high > low) + rest
    primes = [path.stem[:40] for path in request.primes]
    if primes:
        stem += f"_after-{primes[0]}" + f"-and-{len(primes) - 1}" * (len(primes) > 1)
    names = []
    for i in range(request.n_seqs):
        after = f"_after-{primes[i % len(primes)]}" if primes else ""
        number = f"{i:0{len(str(request.n_seqs - 1))}d}"
        names.append(f"{first}_t{request.temperature_of(i):g}{rest}{after}_{number}.{suffix}")
    return Files(folder, stem, [folder / name for name in names], float32)


def make_way(wanted: Files, overwrite: bool) -> None:
    """See that the files can be written.

    Raises
    ------
    OutputError
        If one is there, or the folder is a file.
    """
    if wanted.folder.exists() and not wanted.folder.is_dir():
        raise OutputError(f"{wanted.folder} is a file; choose another folder with --out.")
    gallery.check_page(wanted.folder)
    if overwrite or partial.is_begun(wanted.spool):  # some may be those of the generation that goes on
        return
    for path in (*wanted.sounds, wanted.record):  # the record may be of files of other names
        if path.exists():
            raise OutputError(f"{path} is there already; give --overwrite, or another --seed or --out.")


def first_to_do(in_a_row: Sequence[Files]) -> int:
    """Which of several generations in a row is the first that is not done; 0 if all are.

    Those before it were made by a command that was interrupted.
    """
    for i, wanted in enumerate(in_a_row):
        if partial.is_begun(wanted.spool) or not all(p.exists() for p in (*wanted.sounds, wanted.record)):
            return i
    return 0
