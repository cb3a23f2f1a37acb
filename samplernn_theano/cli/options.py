"""Parser, options and argument types shared by the commands."""

import argparse
import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from samplernn_theano.config.argument_types import positive_int


class Parser(argparse.ArgumentParser):
    """Argument parser with one-line errors, for which --n-seqs and --n_seqs are the same flag.

    Flags cannot be abbreviated: `--frame_size` would stand for k_tier's `--frame_sizes`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; an error that names the nearest flag if one is unknown."""
        flags = {_spelling(flag): flag for action in self._actions for flag in action.option_strings}
        words = [_known_spelling(word, flags) for word in (sys.argv[1:] if args is None else args)]
        parsed, unknown = super().parse_known_args(words, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(_spelling(name), flags, n=1) if name.startswith("--") else []
            hint = f"; did you mean {flags[near[0]]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _spelling(flag: str) -> str:
    return flag.replace("_", "-")


def _known_spelling(word: str, flags: Mapping[str, str]) -> str:
    """A word of a command line, with the name of a flag as the parser spells it."""
    name, equals, value = word.partition("=")
    return flags.get(_spelling(name), name) + equals + value if name.startswith("--") else word


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
