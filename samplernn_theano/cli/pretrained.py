"""The command `samplernn pretrained`."""

import argparse
from typing import Any

from samplernn_theano.cli.options import add, add_command


def add_pretrained(commands: Any) -> None:
    """Add the command `pretrained`."""
    parser = add_command(
        commands, "pretrained", _pretrained, "list the small models that come with the package"
    )
    add(parser, "name", "print the card of this one", nargs="?", metavar="NAME")


def _pretrained(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import pretrained

    if a.name:
        print(pretrained.describe(a.name.removeprefix("pretrained/")))
    else:
        print(pretrained.table())
        print("To hear one: samplernn generate MODEL. Its card: samplernn pretrained MODEL.")
    return 0
