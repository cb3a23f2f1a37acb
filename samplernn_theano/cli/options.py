"""What all command lines of the project share: the parser, the kinds of values, how a command ends."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from samplernn_theano.config.argument_types import positive_int


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which knows flags by their whole name alone.

    Else `--frame_size` would be a short form of k_tier's `--frame_sizes`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments on one line, and exit."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options that say what computes."""
    parser.add_argument(
        "--backend", metavar="NAME", help="jax, numba or c (default: jax where installed, else numba)"
    )
    parser.add_argument("--threads", type=positive_int, help="at most so many threads (default: all cores)")


def add_precision(parser: argparse.ArgumentParser, default: str = "highest") -> None:
    """Give `parser` the option --precision."""
    parser.add_argument(
        "--precision",
        choices=("highest", "tf32", "bf16"),
        help=f"of the matrix products on a GPU, jax only (default: {default})",
    )


def add_devices(parser: argparse.ArgumentParser, default: str = "1") -> None:
    """Give `parser` the option --devices."""
    parser.add_argument(
        "--devices",
        type=positive_int,
        metavar="N",
        help=f"share every batch among N devices, jax only (default: {default})",
    )


def add_set(parser: argparse.ArgumentParser, what: str) -> None:
    """Give `parser` the option --set NAME=VALUE."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"{what} (may be repeated)"
    )


def picture(word: str) -> Path:
    """The name of a picture to draw."""
    return _named(word, (".png", ".pdf", ".svg"))


def csv_file(word: str) -> Path:
    """The name of a table to write."""
    return _named(word, (".csv",))


def json_file(word: str) -> Path:
    """The name of a JSON file to write."""
    return _named(word, (".json",))


def _named(word: str, endings: tuple[str, ...]) -> Path:
    path = Path(word)
    if path.suffix not in endings:
        raise argparse.ArgumentTypeError(f"{word!r} does not end in {' or '.join(endings)}")
    return path
