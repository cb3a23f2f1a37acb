"""The help of every command: examples first, flags in groups, defaults; and completion in shells."""

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from samplernn_theano.cli.examples import EXAMPLES
from samplernn_theano.cli.main import build_parser
from samplernn_theano.cli.options import GROUPS, Parser
from samplernn_theano.config.hyperparameters import FAMILIES


def parsers(parser: Parser, words: str = "") -> Iterator[tuple[str, Parser]]:
    """Each command's words and its parser."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from parsers(child, f"{words} {name}".strip())


OF_ALL = {"help", "version", "print_completion"}
COMMANDS = dict(parsers(build_parser()))
every_command = pytest.mark.parametrize("words", [pytest.param(words, id=words or "-") for words in COMMANDS])


def flags(parser: Parser) -> list[argparse.Action]:
    return [own for own in parser._actions if own.option_strings and own.dest not in OF_ALL]


def test_no_example_is_of_a_command_that_is_not():
    assert EXAMPLES.keys() == COMMANDS.keys()


@every_command
def test_help_begins_with_examples_that_the_command_parses(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")  # examples are not wrapped: they can be copied
    parser = COMMANDS[words]
    usage, _, rest = parser.format_help().partition("\n\n")
    assert usage.startswith(f"usage: {parser.prog} ") and len(usage) < 150
    before, _, after = rest.partition("examples:\n")
    examples = re.match("(?:  samplernn .+\n)+", after)[0].splitlines()
    assert "  -h, --help" not in before and "  -h, --help" in after
    for example in examples:
        given = shlex.split(example.partition("|")[0])[1:]
        if given[:2] == ["train", "--config"]:  # the family is that of the file
            given.insert(1, "three_tier")
        if given[-1] == "--help":
            given = [*given[:-1], "--data", "DATA"]
        assert given[: len(words.split())] == words.split()
        assert callable(build_parser().parse_args(given).command)


@every_command
def test_flags_are_in_groups_and_defaults_are_told(words):
    parser = COMMANDS[words]
    titles = {own: group.title for group in parser._action_groups for own in group._group_actions}
    if len(flags(parser)) > 6:
        assert {titles[own] for own in flags(parser)} <= set(GROUPS)
    shown = parser.format_help()
    assert [title for title in re.findall(r"^(\w+):$", shown, re.MULTILINE) if title in GROUPS] == [
        title for title in GROUPS if parser.groups[title]._group_actions
    ]
    for own in flags(parser):
        assert not re.match(r"\W*(default|repeatable)", own.help), own.option_strings
        if own.default not in (None, False, "", [], argparse.SUPPRESS):
            value = f"{own.default:g}" if isinstance(own.default, float) else str(own.default)
            assert value in own.help % {"default": own.default}, own.option_strings


@pytest.mark.parametrize(
    ("words", "named", "told"),
    [
        *((words, None, "pretrained/NAME") for words in ("generate", "evaluate", "compare", "score")),
        *((words, None, "pretrained/NAME") for words in ("inspect", "convert", "retention")),
        ("generate", "out", "for pretrained/NAME in the current folder"),
        *((f"train {family}", "data", "this or --config is required") for family in FAMILIES),
    ],
)
def test_help_names_what_else_may_be_given(words, named, told):
    assert any(told in own.help for own in COMMANDS[words]._actions if named in (None, own.dest))


def test_training_tells_the_defaults_of_hyperparameters_in_the_group_of_the_model():
    shown = COMMANDS["train k_tier"].format_help()
    model = shown[shown.index("\nmodel:") : shown.index("\ndata:")]
    for flag, default in {
        "dim": 1024,
        "frame_sizes": "16/8/2",
        "weight_norm": True,
        "rnn_type": "GRU",
    }.items():
        assert re.search(rf"--{flag} [^-]*\(default:\s+{default}\)", model)
    assert "--preset" in model and "--learning-rate" not in model


def completion(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args(["--print-completion", shell])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("samplernn pre", {"prepare", "pretrained"}),
        ("samplernn train three", {"three_tier"}),
        ("samplernn train three_tier --big", {"--big_frame_size"}),
        ("samplernn generate runs/mine --temp", {"--temperature"}),
        ("samplernn listening-test make --lis", {"--listeners"}),
        ("samplernn evaluate --split va", {"valid"}),
        ("samplernn generate soun", {"sounds.wav"}),
        ("samplernn evaluate --json sou", {"sounds.wav"}),
        ("samplernn generate runs/mine --prime sou", {"sounds.wav"}),
    ],
)
def test_bash_completes_commands_flags_choices_and_files(capsys, tmp_path, typed, expected):
    script = tmp_path / "completion"
    script.write_text(completion("bash", capsys))
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=True).stderr == b""
    (tmp_path / "sounds.wav").touch()
    words = shlex.split(typed)
    program = (
        f"source {script}; complete -p samplernn >/dev/null || exit; "
        f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; "
        '_shtab_samplernn 2>/dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert set(done.stdout.split()) == expected


def test_completion_in_zsh_has_every_command_and_other_shells_are_refused(capsys, refused):
    script = completion("zsh", capsys)
    assert script.startswith("#compdef samplernn")
    for words, parser in COMMANDS.items():
        assert all(name in script for name in words.split())
        assert all(flag in script for own in flags(parser) for flag in own.option_strings)
    assert "choose from" in refused("--print-completion", "csh")
