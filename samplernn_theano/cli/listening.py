"""The command line of the A/B listening test: `samplernn listening-test make`, `serve`, `analyse`, ..."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, csv_file, picture
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.errors import DataError

TEST = "folder of a test, made by `samplernn listening-test make`"


def add_listening_test(commands: Any) -> None:
    """Add the command `listening-test` and its sub-commands."""
    parser = commands.add_parser("listening-test", help="which system people prefer to hear: an A/B test")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    _add_make(actions)
    _add_serve(actions)
    _add_analyse(actions)
    _add_export(actions)


# --- make ---------------------------------------------------------------------------------------------------


def _add_make(actions: Any) -> None:
    parser = actions.add_parser("make", help="make the page of a test out of folders of sounds")
    parser.add_argument(
        "systems",
        metavar="NAME=FOLDER",
        type=_system,
        nargs="+",
        help="a system and the folder of its sounds (wav, flac, ogg, ...), also in sub-folders; at least two",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the test to be made")
    parser.add_argument(
        "--title", default="Listening test", help="what listeners read above (default: %(default)s)"
    )
    parser.add_argument(
        "--pairs", type=positive_int, default=20, help="that each listener hears (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=5.0,
        help="of each sound, from its beginning; less if one is shorter (default: %(default)g)",
    )
    parser.add_argument(
        "--clips", type=positive_int, default=20, help="sounds of each system, at most (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of the choice of the sounds (default: %(default)s)"
    )
    parser.add_argument(
        "--post", action="store_true", help="the page sends the answers to the server that it came from"
    )
    parser.add_argument(
        "--leave-out-noise",
        action="store_true",
        help="leave out sounds that are noise only, as the paper did",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a test that has no results yet")
    parser.set_defaults(command=_make)


def _system(word: str) -> tuple[str, Path]:
    name, equals, folder = word.partition("=")
    if not (name.strip() and equals and folder):
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=FOLDER")
    return name.strip(), Path(folder)


def _make(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import page

    systems = dict(a.systems)
    if len(systems) < len(a.systems):
        raise DataError("Two systems have the same name; give each another one before its =.")
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
    parser = actions.add_parser("serve", help="serve the page, and collect the answers that it sends")
    parser.add_argument("test", type=Path, help=TEST)
    parser.add_argument("--port", type=_port, default=8000, help="default: %(default)s")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    parser.set_defaults(command=_serve)


def _port(word: str) -> int:
    if not (word.isdecimal() and int(word) < 2**16):
        raise argparse.ArgumentTypeError(f"{word!r} is not a port from 0 to 65535")
    return int(word)


def _serve(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import server

    server.serve(a.test, a.host, a.port)
    return 0


# --- analyse ------------------------------------------------------------------------------------------------


def _add_analyse(actions: Any) -> None:
    parser = actions.add_parser("analyse", help="what the votes say: preferences, intervals, tests")
    parser.add_argument("test", type=Path, help=TEST)
    parser.add_argument(
        "results",
        metavar="RESULTS",
        type=Path,
        nargs="*",
        help="more results of listeners: .json files that the page exported, or save-*.xml of the Web Audio "
        "Evaluation Tool; results.sqlite and results/*.json and *.xml in the folder of the test are always "
        "read",
    )
    parser.add_argument("--out", type=picture, help="draw the preferences into this file, .png, .pdf or .svg")
    parser.add_argument("--csv", type=csv_file, help="also write the numbers to this file")
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
    parser.add_argument("--out", type=Path, required=True, help="folder of the project to be made")
    parser.set_defaults(command=_export)


def _export(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import waet

    waet.export(a.test, a.out)
    return 0
