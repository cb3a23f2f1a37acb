"""Parser, options and argument types shared by the commands."""

import argparse
from pathlib import Path

import pytest

from samplernn_theano.cli import options


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--threads 99999999999999999999",
            "argument --threads: '99999999999999999999' is not a positive whole number below 2^63",
        ),
        ("--threads 0", "argument --threads: '0' is not a positive whole number below 2^63"),
        ("--thread 4", "unrecognized arguments: --thread 4; did you mean --threads?"),  # no abbreviation
        ("extra --novelty=1", "unrecognized arguments: extra --novelty=1"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(capsys, words, message):
    parser = options.Parser(prog="program")
    options.add_backend(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(words.split())
    assert capsys.readouterr().err == f"program: {message} (see program --help)\n"


@pytest.mark.parametrize(
    "words", [["--n-seqs", "3"], ["--n_seqs", "3"], ["--n-seqs=3"], ["--n_seqs=3", "--max_minutes=1-5_0"]]
)
def test_a_flag_may_be_written_with_hyphens_or_underscores(words):
    parser = options.Parser(prog="program")
    command = parser.add_subparsers(parser_class=options.Parser).add_parser("command")
    command.add_argument("--n_seqs", type=int)
    command.add_argument("--max-minutes", default="1-5_0")
    assert vars(parser.parse_args(["command", *words])) == {"n_seqs": 3, "max_minutes": "1-5_0"}


def test_shared_options():
    parser = options.Parser(prog="program")
    options.add_backend(parser, precision="highest", devices="1")
    options.add_set(parser, "a setting")
    given = "--backend c --threads 2 --precision tf32 --devices 3 --set a=1 --set b=2".split()
    values = {"backend": "c", "threads": 2, "precision": "tf32", "n_devices": 3, "set": ["a=1", "b=2"]}
    assert vars(parser.parse_args(given)) == values
    assert vars(parser.parse_args([])) == dict.fromkeys(values) | {"set": []}


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
