"""Parser, options and argument types shared by the commands."""

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from samplernn_theano.cli.examples import EXAMPLES
from samplernn_theano.config.argument_types import positive_int
from samplernn_theano.config.settings import PRECISIONS

MODEL = "a checkpoint (.npz, .safetensors, .pkl of the original), a run (its best one), or pretrained/NAME"


GROUPS = ("model", "data", "schedule", "sampling", "output", "devices")
"""Titles of the groups of flags in the help of each command, in this order; empty ones are not shown."""


class OneLineParser(argparse.ArgumentParser):
    """Argument parser with one-line errors. Flags are not abbreviated: k_tier has --frame_sizes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, but no indented lines such as those of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wrap = super()._fill_text
        return "\n".join(
            line if line.startswith(" ") else wrap(line, width, indent) for line in text.splitlines()
        )


class Parser(OneLineParser):
    """A parser for which --n-seqs and --n_seqs are the same flag, and which rejects what it does not know.

    Its help begins with examples; a command adds its flags to one of the `groups`, by title.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _HelpFormatter} | options)
        lines = EXAMPLES.get(self.prog.partition(" ")[2], "").strip().replace("\n", "\n  ")
        examples = f"examples:\n  {lines}" if lines else ""
        self.description = "\n\n".join(filter(None, [self.description, examples]))
        self.groups = {title: self.add_argument_group(title) for title in GROUPS}

    def format_help(self) -> str:
        """Format the help, with only what must be given in its usage."""
        choices = [group for group in self._mutually_exclusive_groups if group.required]
        shown = [action for group in choices for action in group._group_actions]
        shown += [own for own in self._actions if own.required or not own.option_strings]
        usage = argparse.HelpFormatter(self.prog, width=1000)  # in one line
        usage.add_usage(None, shown, choices, prefix="")
        self.usage = usage.format_help().strip().replace("%", "%%")
        if not self._subparsers:
            self.usage += " [options]"
        return super().format_help()

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


def _spelling(flag: str) -> str:
    return flag.replace("_", "-")


def _known_spelling(word: str, flags: Mapping[str, str]) -> str:
    """A word of a command line, with the name of a flag as the parser spells it."""
    name, equals, value = word.partition("=")
    return flags.get(_spelling(name), name) + equals + value if name.startswith("--") else word


def add(parser: Any, name: str, text: str, kind: Any = None, default: Any = None, **more: Any) -> None:
    """Add an argument with a help text, which tells the default, and a type; a bool is a switch."""
    if kind is bool:
        parser.add_argument(name, action="store_true", help=text)
        return
    if default is not None:
        text += f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"
    parser.add_argument(name, type=kind, default=default, help=text, **more)


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str, **more: Any
) -> Parser:
    """Add a command, or an action of one, that runs `command`."""
    options = {"description": f"{text[0].upper()}{text[1:]}."} | more
    parser: Parser = commands.add_parser(name, help=text, **options)
    parser.set_defaults(command=command)
    return parser


def add_backend(parser: Parser, precision: str = "", devices: str = "") -> None:
    """Add --backend and --threads, and --precision and --devices if their default is given."""
    group = parser.groups["devices"]
    text = "jax, numba or c (default: jax where installed, else numba)"
    add(group, "--backend", text, metavar="NAME")
    add(group, "--threads", "maximum number of threads (default: all cores)", positive_int)
    if precision:
        text = f"precision of matrix products on a GPU, jax only (default: {precision})"
        add(group, "--precision", text, choices=PRECISIONS)
    if devices:
        text = f"split every batch over N devices, jax only (default: {devices})"
        add(group, "--devices", text, positive_int, dest="n_devices", metavar="N")


def add_set(parser: Parser, text: str) -> None:
    """Add --set NAME=VALUE."""
    parser.groups["model"].add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help=f"{text} (repeatable)"
    )


def _file(*suffixes: str) -> Callable[[str], Path]:
    def parse(text: str) -> Path:
        if Path(text).suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(suffixes)}")
        return Path(text)

    return parse


figure_file = _file(".png", ".pdf", ".svg")
csv_file = _file(".csv")
json_file = _file(".json")
PATHS = (Path, figure_file, csv_file, json_file)
"""Types of arguments that are paths."""
