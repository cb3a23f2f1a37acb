"""The command line: `samplernn COMMAND ...`.

Exit codes: 0 success, 1 a conformance check failed, 2 an error that the user can fix, 124 stopped by
--max-time, 130 or 143 interrupted by Ctrl-C or SIGTERM. Slow imports are inside the commands, so that
`--help` is fast.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from samplernn_theano.cli.data import add_check_data, add_prepare
from samplernn_theano.cli.data_sets import add_data
from samplernn_theano.cli.files import add_convert, add_inspect, add_show
from samplernn_theano.cli.generate import add_generate
from samplernn_theano.cli.listening import add_listening_test
from samplernn_theano.cli.options import PATHS, Parser, add, add_backend, add_command
from samplernn_theano.cli.pretrained import add_pretrained
from samplernn_theano.cli.reproduce import add_figure, add_reproduce, add_retention
from samplernn_theano.cli.scores import add_compare, add_evaluate, add_score
from samplernn_theano.cli.search import add_search
from samplernn_theano.cli.train import add_resume, add_train, with_family
from samplernn_theano.utils.commands import run_command

RESULTS = {
    "check-data",
    "compare",
    "conformance",
    "evaluate",
    "info",
    "inspect",
    "pretrained",
    "retention",
    "score",
    "show",
}
"""Commands whose output is the result; that of most others is only talk."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    is_result = not RESULTS.isdisjoint(words[:1]) or words[:2] == ["listening-test", "analyse"]
    is_result |= words[:1] == ["reproduce"] and not {"--list", "--dry-run", "--verify"}.isdisjoint(words)
    is_result |= words[:1] == ["generate"] and (("--out", "-") in pairwise(words) or "--out=-" in words)
    return run_command(lambda: _run(words), is_result)


def _run(argv: list[str]) -> int:
    arguments = build_parser().parse_args(with_family(argv))
    arguments.command_line = argv
    if getattr(arguments, "threads", None):
        from samplernn_theano.backends import threads

        threads.set_limit(arguments.threads)
    # A graph has hundreds of thousands of long-lived objects: collecting garbage as often as by default (700)
    # takes a twentieth of the time to the first training step.
    gc.set_threshold(10_000)
    return arguments.command(arguments)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = Parser(
        prog="samplernn", description="SampleRNN (ICLR 2017) on PyTensor, faithful to the authors' code."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    text = "print what completes commands and flags in this shell, and exit"
    parser.add_argument("--print-completion", action=_PrintCompletion, choices=("bash", "zsh"), help=text)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for add_to in (
        *(add_prepare, add_data, add_check_data, add_train, add_resume, add_show, add_generate, add_evaluate),
        *(add_compare, add_score, add_inspect, add_convert, add_reproduce, add_retention, add_listening_test),
        *(add_search, add_figure, add_pretrained, _add_conformance, _add_info),
    ):
        add_to(commands)
    return parser


class _Version(argparse.Action):
    """Print the version, which is looked up only on demand: that takes as long as building all parsers."""

    def __call__(self, *_: Any) -> None:
        from samplernn_theano.utils.version import package_version

        print(f"samplernn-theano {package_version()}")
        raise SystemExit(0)


class _PrintCompletion(argparse.Action):
    """Print a script for a shell, in which flags for paths are completed with names of files."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, shell: Any, flag: Any = None) -> None:
        import shtab

        parsers = [parser]
        for one in parsers:  # which grows
            for own in one._actions:
                if isinstance(own, argparse._SubParsersAction):
                    parsers += own.choices.values()
                elif own.type in PATHS:
                    own.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=shell))
        raise SystemExit(0)


# --- conformance and info -----------------------------------------------------------------------------------


def _add_conformance(commands: Any) -> None:
    text = "compare our models with data from the original"
    parser = add_command(commands, "conformance", _conformance, text)
    data = parser.groups["data"]
    add(parser, "folder", "folder of cases, NAME.json and NAME.npz each", Path)
    add(data, "--family", "only cases of this family (repeatable)", action="append", metavar="FAMILY")
    add(data, "--case", "only this case (repeatable)", action="append", metavar="NAME")
    add(data, "--corpus", "input clips of the cases (default: corpus next to FOLDER)", Path)
    add(
        parser.groups["model"],
        "--form",
        "form of the model's graph",
        str,
        "fast",
        choices=("fast", "reference"),
    )
    add(parser.groups["output"], "--brief", "print a line per kind of quantity, and failures", bool)
    add_backend(parser, precision="highest", devices="1")


def _conformance(a: argparse.Namespace) -> int:
    from samplernn_theano.verification import verify

    how = (a.backend, a.form, a.brief, a.precision or "highest", a.n_devices or 1)
    return verify.run(a.folder, a.family, a.case, a.corpus, *how)


def _add_info(commands: Any) -> None:
    add_backend(add_command(commands, "info", _info, "show versions, backend, devices, threads"))


def _info(a: argparse.Namespace) -> int:
    from samplernn_theano.backends import compile

    for name, value in compile.describe(a.backend).items():
        print(f"{name + ':':<24}{value}")
    return 0
