"""The commands of the A/B listening test: `samplernn listening-test make`, `serve`, `analyse`, ..."""

import argparse
import re
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, add, add_command, csv_file, figure_file
from samplernn_theano.config.argument_types import positive, positive_int, seed
from samplernn_theano.errors import DataError

TEST = "folder of a test made by `samplernn listening-test make`"


def add_listening_test(commands: Any) -> None:
    """Add the command `listening-test` and its sub-commands."""
    parser = commands.add_parser("listening-test", help="A/B listening tests: make, serve, analyse")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    make = add_command(actions, "make", _make, "make the page of a test from folders of sounds")
    data, output = make.groups["data"], make.groups["output"]
    text = "a system and the folder of its sounds (wav, flac, ogg, ..., also in sub-folders); at least two"
    add(make, "systems", text, _system, metavar="NAME=FOLDER", nargs="+")
    add(output, "--out", "folder of the test to make", Path, required=True)
    add(output, "--title", "title shown to listeners", str, "Listening test")
    add(output, "--pairs", "number of pairs per listener", positive_int, 20)
    add(data, "--seconds", "length of all sounds, cut at the end; less if one is shorter", positive, 5.0)
    add(data, "--clips", "maximum number of sounds of each system", positive_int, 20)
    add(data, "--seed", "seed of the choice of the sounds", seed, 0)
    text = "admit so many listeners, each by a link of their own in links.txt; else everybody"
    add(output, "--listeners", text, positive_int, metavar="N")
    add(data, "--leave-out-noise", "leave out sounds that are only noise, as the paper did", bool)
    add(output, "--overwrite", "replace a test without results", bool)
    serve = add_command(actions, "serve", _serve, "serve the page and collect the votes")
    add(serve, "test", TEST, Path)
    add(serve, "--port", "port to listen on", _port, 8000)
    add(serve, "--host", "address to listen on; 0.0.0.0 allows other machines", str, "127.0.0.1")
    text = "address by which listeners reach the server, if it is not that of --host and --port"
    add(serve, "--url", text, _url, metavar="http://NAME/")
    text = "analyse the votes: preferences, intervals and p-values over listeners and sounds"
    analyse = add_command(actions, "analyse", _analyse, text)
    add(analyse, "test", TEST, Path)
    text = (
        "more results of listeners: .json files exported by the page, or save-*.xml of the Web Audio "
        "Evaluation Tool; results.sqlite and results/*.json and *.xml in the test's folder are always read"
    )
    add(analyse, "results", text, Path, metavar="RESULTS", nargs="*")
    add(analyse, "--out", "draw the preferences as a figure, .png, .pdf or .svg", figure_file)
    add(analyse, "--csv", "also write the numbers as a table", csv_file)
    text = "leave out listeners with unusual votes, which are always listed"
    add(analyse, "--exclude", text, choices=("flagged",))
    text = "write the test as a project of the Web Audio Evaluation Tool"
    export = add_command(actions, "export-waet", _export, text)
    add(export, "test", TEST, Path)
    add(export, "--out", "folder of the project to make", Path, required=True)


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
        listeners=a.listeners or 0,
        leave_out_noise=a.leave_out_noise,
        overwrite=a.overwrite,
    )
    print(page.describe(made))
    return 0


def _port(argument: str) -> int:
    if not (argument.isdecimal() and int(argument) < 2**16):
        raise argparse.ArgumentTypeError(f"{argument!r} is not a port from 0 to 65535")
    return int(argument)


def _url(argument: str) -> str:
    from samplernn_theano.listening.links import ADDRESS

    if not re.fullmatch(ADDRESS, argument):
        raise argparse.ArgumentTypeError(
            f"{argument!r} is not an address such as http://lab.example.org:8000/"
        )
    return argument if argument.endswith("/") else f"{argument}/"


def _serve(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import server

    server.serve(a.test, a.host, a.port, a.url or "")
    return 0


def _analyse(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import analysis

    return analysis.run(a.test, a.results, a.out, a.csv, a.exclude == "flagged")


def _export(a: argparse.Namespace) -> int:
    from samplernn_theano.listening import waet

    waet.export(a.test, a.out)
    return 0
