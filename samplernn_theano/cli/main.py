"""The command line: `samplernn COMMAND ...`.

Exit codes: 0 success, 1 a conformance check failed, 2 an error that the user can fix, 124 stopped by
--max-time, 130 or 143 interrupted by Ctrl-C or SIGTERM. Slow imports are inside the commands, so that
`--help` is fast.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samplernn_theano.cli.convert import add_convert
from samplernn_theano.cli.data import add_check_data, add_prepare
from samplernn_theano.cli.data_sets import add_data
from samplernn_theano.cli.figures import add_figure
from samplernn_theano.cli.files import add_inspect, add_show
from samplernn_theano.cli.generate import add_generate
from samplernn_theano.cli.listening import add_listening_test
from samplernn_theano.cli.options import Parser, add_backend, add_devices, add_precision
from samplernn_theano.cli.reproduce import add_reproduce
from samplernn_theano.cli.retention import add_retention
from samplernn_theano.cli.scores import add_compare, add_evaluate, add_score
from samplernn_theano.cli.search import add_search
from samplernn_theano.cli.train import add_resume, add_train, with_family
from samplernn_theano.utils.commands import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return run_command(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


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
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    add_prepare(commands)
    add_data(commands)
    add_check_data(commands)
    add_train(commands)
    add_resume(commands)
    add_show(commands)
    add_generate(commands)
    add_evaluate(commands)
    add_compare(commands)
    add_score(commands)
    add_inspect(commands)
    add_convert(commands)
    add_reproduce(commands)
    add_retention(commands)
    add_listening_test(commands)
    add_search(commands)
    add_figure(commands)
    _add_conformance(commands)
    _add_info(commands)
    return parser


class _Version(argparse.Action):
    """Print the version, which is looked up only on demand: that takes as long as building all parsers."""

    def __call__(self, *_: Any) -> None:
        from samplernn_theano.utils.version import package_version

        print(f"samplernn-theano {package_version()}")
        raise SystemExit(0)


# --- conformance --------------------------------------------------------------------------------------------


def _add_conformance(commands: Any) -> None:
    parser = commands.add_parser("conformance", help="compare our models with data from the original")
    parser.add_argument("folder", type=Path, help="folder of cases, NAME.json and NAME.npz each")
    parser.add_argument(
        "--family", action="append", metavar="FAMILY", help="only cases of this family (repeatable)"
    )
    parser.add_argument("--case", action="append", metavar="NAME", help="only this case (repeatable)")
    parser.add_argument(
        "--corpus", type=Path, help="input clips of the cases (default: corpus next to FOLDER)"
    )
    parser.add_argument(
        "--form", choices=("fast", "reference"), default="fast", help="form of the model's graph"
    )
    parser.add_argument(
        "--brief", action="store_true", help="print a line per kind of quantity, and failures"
    )
    add_backend(parser)
    add_precision(parser)
    add_devices(parser)
    parser.set_defaults(command=_conformance)


def _conformance(a: argparse.Namespace) -> int:
    from samplernn_theano.verification import verify

    how = (a.backend, a.form, a.brief, a.precision or "highest", a.n_devices or 1)
    return verify.run(a.folder, a.family, a.case, a.corpus, *how)


# --- info ---------------------------------------------------------------------------------------------------


def _add_info(commands: Any) -> None:
    parser = commands.add_parser("info", help="show versions, backend, devices, threads")
    add_backend(parser)
    parser.set_defaults(command=_info)


def _info(a: argparse.Namespace) -> int:
    from samplernn_theano.backends import compile

    for name, value in compile.describe(a.backend).items():
        print(f"{name + ':':<24}{value}")
    return 0
