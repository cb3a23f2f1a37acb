"""Parser, options and argument types shared by the commands."""

import argparse
from pathlib import Path

import pytest

from samplernn_theano.cli import options


def test_errors_are_one_line_with_exit_code_2(capsys):
    parser = options.Parser(prog="program")
    options.add_backend(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--threads", "0"])
    errors = capsys.readouterr().err
    assert errors.startswith("program: argument --threads: '0' is not") and errors.count("\n") == 1
    assert errors.endswith("(see program --help)\n")


def test_flags_cannot_be_abbreviated(capsys):
    parser = options.Parser(prog="program")
    parser.add_argument("--frame_sizes")
    assert parser.parse_args(["--frame_sizes", "4"]).frame_sizes == "4"
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--frame_size", "4"])
    message = "program: unrecognized arguments: --frame_size 4; did you mean --frame_sizes?"
    assert capsys.readouterr().err == f"{message} (see program --help)\n"


@pytest.mark.parametrize(
    "words", [["--n-seqs", "3"], ["--n_seqs", "3"], ["--n-seqs=3"], ["--n_seqs=3", "--max_minutes=1-5_0"]]
)
def test_a_flag_may_be_written_with_hyphens_or_underscores(words):
    parser = options.Parser(prog="program")
    command = parser.add_subparsers(parser_class=options.Parser).add_parser("command")
    command.add_argument("--n_seqs", type=int)
    command.add_argument("--max-minutes", default="1-5_0")
    assert vars(parser.parse_args(["command", *words])) == {"n_seqs": 3, "max_minutes": "1-5_0"}


def test_what_resembles_no_flag_is_named_without_a_guess(capsys):
    parser = options.Parser(prog="program")
    parser.add_argument("--frame_sizes")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["extra", "--novelty=1"])
    message = "program: unrecognized arguments: extra --novelty=1 (see program --help)\n"
    assert capsys.readouterr().err == message


def test_shared_options():
    parser = options.Parser(prog="program")
    options.add_backend(parser)
    options.add_precision(parser)
    options.add_devices(parser)
    options.add_set(parser, "a setting")
    given = "--backend c --threads 2 --precision tf32 --devices 3 --set a=1 --set b=2".split()
    assert vars(parser.parse_args(given)) == {
        "backend": "c",
        "threads": 2,
        "precision": "tf32",
        "n_devices": 3,
        "set": ["a=1", "b=2"],
    }
    assert vars(parser.parse_args([])) == dict.fromkeys(["backend", "threads", "precision", "n_devices"]) | {
        "set": []
    }


@pytest.mark.parametrize(
    ("convert", "accepted", "message"),
    [
        (options.figure_file, ["a.png", "b/a.pdf", "a.svg"], "'a.txt' does not end in .png or .pdf or .svg"),
        (options.csv_file, ["a.csv"], "'a.txt' does not end in .csv"),
        (options.json_file, ["a.json"], "'a.txt' does not end in .json"),
    ],
)
def test_files_must_have_a_known_suffix(convert, accepted, message):
    for name in accepted:
        assert convert(name) == Path(name)
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        convert("a.txt")
