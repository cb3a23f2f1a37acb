"""The commands of the A/B listening test: `samplernn listening-test make`, `serve`, `analyse`, ..."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, csv_file, figure_file
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.errors import DataError

TEST = "folder of a test made by `samplernn listening-test make`"


def add_listening_test(commands: Any) -> None:
    """Add the command `listening-test` and its sub-commands."""
    parser = commands.add_parser("listening-test", help="A/B listening tests: make, serve, analyse")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    _add_make(actions)
    _add_serve(actions)
    _add_analyse(actions)
    _add_export(actions)


# --- make ---------------------------------------------------------------------------------------------------


def _add_make(actions: Any) -> None:
    parser = actions.add_parser("make", help="make the page of a test from folders of sounds")
    parser.add_argument(
        "systems",
        metavar="NAME=FOLDER",
        type=_system,
        nargs="+",
        help="a system and the folder of its sounds (wav, flac, ogg, ..., also in sub-folders); at least two",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the test to make")
    parser.add_argument(
        "--title", default="Listening test", help="title shown to listeners (default: %(default)s)"
    )
    parser.add_argument(
        "--pairs", type=positive_int, default=20, help="number of pairs per listener (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=5.0,
        help="length of all sounds, cut at the end; less if one is shorter (default: %(default)g)",
    )
    parser.add_argument(
        "--clips",
        type=positive_int,
        default=20,
        help="maximum number of sounds of each system (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="seed of the choice of the sounds (default: %(default)s)"
    )
    parser.add_argument("--post", action="store_true", help="the page sends the votes to its server")
    parser.add_argument(
        "--leave-out-noise",
        action="store_true",
        help="leave out sounds that are only noise, as the paper did",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a test without results")
    parser.set_defaults(command=_make)


def _system(argument: str) -> tuple[str, Path]:
    name, equals, folder = argument.partition("=")
    if not (name.strip() and equals and folder):
        raise argparse.ArgumentTypeError(f"{argument!r} is not NAME=FOLDER")
    return name.strip(), Path(folder)


def _make(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import page

    systems = dict(a.systems)
    if len(systems) < len(a.systems):
        raise DataError("Two systems have the same name; give each its own name before the =.")
    if len(systems) < 2:
        raise DataError("A listening test compares at least two systems; give NAME=FOLDER twice or more.")
    made = page.make(
        systems,
        a.out,
        title=a.title,
        pairs=a.pairs,
        seconds=a.seconds,
        clips=a.clips,
        seed=a.seed,
        post=a.post,
        leave_out_noise=a.leave_out_noise,
        overwrite=a.overwrite,
    )
    print(page.describe(made))
    return 0


# --- serve --------------------------------------------------------------------------------------------------


def _add_serve(actions: Any) -> None:
    parser = actions.add_parser("serve", help="serve the page and collect the votes that it sends")
    parser.add_argument("test", type=Path, help=TEST)
    parser.add_argument("--port", type=_port, default=8000, help="default: %(default)s")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 allows other machines (default: %(default)s)",
    )
    parser.set_defaults(command=_serve)


def _port(argument: str) -> int:
    if not (argument.isdecimal() and int(argument) < 2**16):
        raise argparse.ArgumentTypeError(f"{argument!r} is not a port from 0 to 65535")
    return int(argument)


def _serve(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import server

    server.serve(a.test, a.host, a.port)
    return 0


# --- analyse ------------------------------------------------------------------------------------------------


def _add_analyse(actions: Any) -> None:
    parser = actions.add_parser(
        "analyse", help="analyse the votes: preferences, intervals, significance tests"
    )
    parser.add_argument("test", type=Path, help=TEST)
    parser.add_argument(
        "results",
        metavar="RESULTS",
        type=Path,
        nargs="*",
        help="more results of listeners: .json files exported by the page, or save-*.xml of the Web Audio "
        "Evaluation Tool; results.sqlite and results/*.json and *.xml in the test's folder are always read",
    )
    parser.add_argument(
        "--out", type=figure_file, help="draw the preferences as a figure, .png, .pdf or .svg"
    )
    parser.add_argument("--csv", type=csv_file, help="also write the numbers as a table")
    parser.set_defaults(command=_analyse)


def _analyse(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import analysis

    return analysis.run(a.test, a.results, a.out, a.csv)


# --- export-waet --------------------------------------------------------------------------------------------


def _add_export(actions: Any) -> None:
    parser = actions.add_parser(
        "export-waet", help="write the test as a project of the Web Audio Evaluation Tool"
    )
    parser.add_argument("test", type=Path, help=TEST)
    parser.add_argument("--out", type=Path, required=True, help="folder of the project to make")
    parser.set_defaults(command=_export)


def _export(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import waet

    waet.export(a.test, a.out)
    return 0
