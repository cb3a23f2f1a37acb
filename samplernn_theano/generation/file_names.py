"""Names of the files of a generation: run, checkpoint, seed, temperature and what else is not the default."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samplernn_theano.checkpoints.load import LoadedModel
from samplernn_theano.errors import OutputError
from samplernn_theano.generation import gallery, partial
from samplernn_theano.generation.request import Request
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


@dataclass(frozen=True)
class OutputFiles:
    """Files that a request writes into `folder`; all their names begin with `stem`."""

    folder: Path
    stem: str
    sounds: Sequence[Path]  # one per sequence

    @property
    def record(self) -> Path:
        """The record of the generation (JSON)."""
        return self.folder / f"{self.stem}.json"

    @property
    def figure(self) -> Path:
        """The figure of the spectrograms."""
        return self.folder / f"{self.stem}_spectrograms.png"

    @property
    def partial_folder(self) -> Path:
        """The hidden folder of the partial output."""
        return self.folder / f".{self.stem}.part"


def default_folder(checkpoint: Path) -> Path:
    """Default output folder of a checkpoint: samples in its run, or next to it."""
    folder = checkpoint.parent if checkpoint.parent.name else checkpoint.resolve().parent
    return (folder.parent if folder.name in ("checkpoints", "params") else folder) / "samples"


def name_files(model: LoadedModel, request: Request, folder: Path, suffix: str) -> OutputFiles:
    """Name the output files of a request."""
    path = model.path.resolve()
    # Our checkpoints have the same names in every run; the original's are unique, and its run names long.
    run = f"{path.parent.parent.name[:40]}_" if path.parent.name == "checkpoints" else ""
    if request.like_original:
        stem = f"{run}{path.stem}_like-original_g1"
        return OutputFiles(folder, stem, [folder / f"{stem}_{i}.wav" for i in range(request.n_seqs)])
    first = f"{run}{path.stem}_seed{request.seed}"
    rest = f"_p{request.top_p:g}" * (request.top_p < 1)
    if request.silent:
        rest += f"_silence{request.silent.start / SAMPLE_RATE:g}-{request.silent.stop / SAMPLE_RATE:g}"
    low, high = min(request.temperature), max(request.temperature)
    stem = f"{first}_t{low:g}" + f"-{high:g}" * (high > low) + rest
    primes = [path.stem[:40] for path in request.primes]
    if primes:
        stem += f"_after-{primes[0]}" + f"-and-{len(primes) - 1}" * (len(primes) > 1)
    sounds = []
    for i, temperature in enumerate(request.temperatures):
        after = f"_after-{primes[i % len(primes)]}" if primes else ""
        number = f"{i:0{len(str(request.n_seqs - 1))}d}"
        sounds.append(folder / f"{first}_t{temperature:g}{rest}{after}_{number}.{suffix}")
    return OutputFiles(folder, stem, sounds)


def check_overwrite(output: OutputFiles, overwrite: bool) -> None:
    """Raise OutputError if the folder is a file, or a file of the output exists, unless `overwrite`."""
    if output.folder.exists() and not output.folder.is_dir():
        raise OutputError(f"{output.folder} is a file; choose another folder with --out.")
    gallery.check_page(output.folder)
    if overwrite or partial.is_unfinished(output.partial_folder):  # some files may be its own
        return
    for path in (*output.sounds, output.record):  # the record may be of files with other names
        if path.exists():
            raise OutputError(f"{path} already exists; give --overwrite, or another --seed or --out.")
