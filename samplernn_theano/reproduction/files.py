"""Where the folder `reproduce/` is, and how its files are read."""

from pathlib import Path

from samplernn_theano.errors import ReproductionError


def root() -> Path:
    """The checkout that this package belongs to: it holds the folders `reproduce` and `datasets`.

    Raises
    ------
    ReproductionError
        If the package was installed without it.
    """
    folder = Path(__file__).parents[2]
    if (folder / "reproduce" / "Snakefile").is_file() and (folder / "datasets").is_dir():
        return folder
    raise ReproductionError(
        "The folders reproduce and datasets are not beside the package; clone the repository and install it "
        'from there: pip install -e ".[jax,reproduce]".'
    )


def folder() -> Path:
    """The folder `reproduce`."""
    return root() / "reproduce"
