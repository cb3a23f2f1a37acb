"""Fixtures of the commands; some are shared with the tests of generation."""

import pytest

from samplernn_theano.cli.main import main
from tests.generation.conftest import generate, model, primes, quick  # noqa: F401


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused; return its one-line error."""

    def run(*arguments: object) -> str:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # errors of argparse
            code = stop.code
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert code == 2 and line.startswith("samplernn")
        return line

    return run
