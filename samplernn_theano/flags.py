"""Hyper-parameters on a command line, ours and the original's."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.hyperparameters import HyperParameters, Sizes


def add_flags(parser: Any, family: type[HyperParameters]) -> None:
    """Give `parser` one flag per hyper-parameter, named as in the original; a flag not given is None."""
    kinds: dict[Any, tuple[Any, str | None]] = {
        bool: (true_or_false, "True|False"),
        Sizes: (frame_sizes, "16/8/2"),
        float | None: (float, None),
    }
    for own in fields(family):
        kind, metavar = kinds.get(own.type, (own.type, None))
        parser.add_argument(f"--{own.name}", type=kind, metavar=metavar, default=None)


def from_original_argv(family: type[HyperParameters], argv: Sequence[str]) -> tuple[HyperParameters, str]:
    """Hyper-parameters and data set (`--which_set`) of a command line of the original.

    Parameters
    ----------
    argv : sequence of str
        As the original stored it; the script's path may stand in front.

    Raises
    ------
    HyperParameterError
        If a flag is unknown or has no value.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_flags(parser, family)
    parser.add_argument("--exp")
    parser.add_argument("--which_set", default="MUSIC")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--resume", action="store_true")
    words = list(argv[1:]) if argv and not argv[0].startswith("--") else list(argv)
    given = vars(parser.parse_args(words))
    names = [own.name for own in fields(family)]
    return family(**{n: given[n] for n in names if given[n] is not None}), given["which_set"]


def true_or_false(word: str) -> bool:
    """The original's way to write a truth value: True or False, in any case, or T or F.

    Raises
    ------
    argparse.ArgumentTypeError
        If the word is neither.
    """
    lowered = word.lower()
    if lowered in ("t", "true"):
        return True
    if lowered in ("f", "false"):
        return False
    raise argparse.ArgumentTypeError(f"{word!r} is neither True nor False")


def frame_sizes(word: str) -> Sizes:
    """Frame sizes of several tiers, the slowest first, written as 16/8/2.

    Raises
    ------
    argparse.ArgumentTypeError
        If the word is not whole numbers between strokes.
    """
    try:
        return tuple(int(part) for part in word.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not written as in 16/8/2") from None


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> Any:
        raise HyperParameterError(f"The original's command line cannot be read: {message}.")
