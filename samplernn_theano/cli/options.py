"""Parser, options and argument types shared by the commands."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from samplernn_theano.config.argument_types import positive_int


class Parser(argparse.ArgumentParser):
    """Argument parser with one-line errors and without abbreviated flags.

    With abbreviations, `--frame_size` would stand for k_tier's `--frame_sizes`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add --backend and --threads."""
    parser.add_argument(
        "--backend", metavar="NAME", help="jax, numba or c (default: jax where installed, else numba)"
    )
    parser.add_argument("--threads", type=positive_int, help="maximum number of threads (default: all cores)")


def add_precision(parser: argparse.ArgumentParser, default: str = "highest") -> None:
    """Add --precision."""
    parser.add_argument(
        "--precision",
        choices=("highest", "tf32", "bf16"),
        help=f"precision of matrix products on a GPU, jax only (default: {default})",
    )


def add_devices(parser: argparse.ArgumentParser, default: str = "1") -> None:
    """Add --devices."""
    parser.add_argument(
        "--devices",
        dest="n_devices",
        type=positive_int,
        metavar="N",
        help=f"split every batch over N devices, jax only (default: {default})",
    )


def add_set(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add --set NAME=VALUE."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"{help_text} (repeatable)"
    )


def figure_file(text: str) -> Path:
    """Path of a figure: .png, .pdf or .svg."""
    return _with_suffix(text, (".png", ".pdf", ".svg"))


def csv_file(text: str) -> Path:
    """Path of a CSV file."""
    return _with_suffix(text, (".csv",))


def json_file(text: str) -> Path:
    """Path of a JSON file."""
    return _with_suffix(text, (".json",))


def _with_suffix(text: str, suffixes: tuple[str, ...]) -> Path:
    path = Path(text)
    if path.suffix not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(suffixes)}")
    return path
