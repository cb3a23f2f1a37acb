"""`samplernn reproduce --verify`: score the models that come with the package, compare with their cards."""

import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samplernn_theano.checkpoints import load, pretrained
from samplernn_theano.data.dataset import split_path
from samplernn_theano.data.manifest import MANIFEST
from samplernn_theano.errors import ReproductionError
from samplernn_theano.evaluation import nll
from samplernn_theano.utils.files import sha256
from samplernn_theano.utils.text import format_table, say

TOLERANCE = 0.001
"""Bits per sample: more than another processor or version of a library changes, less than a training does."""

HEAD = ["model", "test, by its card", "measured", "difference", "seconds"]


def run(out: Path) -> int:
    """Score every model on the test split of its set, which is made in `out` if it is not there.

    Returns 0 if all models that could be scored reach what their cards say, 1 if one does not. Raises
    ReproductionError if no set could be made.
    """
    cards = {name: pretrained.card(name) for name in pretrained.names()}
    sets = {card["set"]: card["data_made_by"] for card in cards.values()}
    failures = {own: _make(command, out / own) for own, command in sorted(sets.items())}
    if all(failures.values()):
        raise ReproductionError(f"Nothing can be scored. {' '.join(failures.values())}")
    rows, remarks = [HEAD], []
    for name, card in cards.items():
        if failures[card["set"]]:
            rows.append([name, f"{card['test']:.4f}", "not scored", "", ""])
            continue
        began = time.monotonic()
        bits = _score(name, out / card["set"])
        difference = bits - card["test"]
        rows.append(
            [
                name,
                f"{card['test']:.4f}",
                f"{bits:.4f}",
                f"{difference:+.4f}",
                f"{time.monotonic() - began:.0f}",
            ]
        )
        if abs(difference) > TOLERANCE:
            remarks.append(f"{name} differs by more than {TOLERANCE:g} bits{_why(card, out / card['set'])}.")
    print("\n".join(format_table(rows, right=(1, 2, 3, 4))))
    print(*filter(None, failures.values()), *remarks, sep="\n")
    if not remarks:
        print(f"All that were scored agree within {TOLERANCE:g} bits per sample.")
    return int(bool(remarks))


def _make(command_line: str, folder: Path) -> str:
    """Make a data set in `folder` by a command, unless it is there; why it cannot be made."""
    if (folder / MANIFEST).exists():
        return ""
    command = [*shlex.split(command_line)[1:], "--out", str(folder)]
    say(f"$ samplernn {shlex.join(command)}")
    process = subprocess.run([sys.executable, "-m", "samplernn_theano", *command], stdout=sys.stderr)
    if not process.returncode:
        return ""
    return f"The set {folder.name} could not be made: see above. One made elsewhere may be put in {folder}."


def _score(name: str, data: Path) -> float:
    """Bits per sample of a model on the test split."""
    model = load.read(pretrained.checkpoint(f"{pretrained.PREFIX}/{name}"))
    scorer = nll.compile_scorer(model)
    say(f"{name}:")
    return nll.score_split(scorer, nll.load_clips(model, data, "test"), progress=True).bits


def _why(card: Mapping[str, Any], data: Path) -> str:
    """A reason for another score: another test split."""
    same = sha256(split_path(data, "test")) == card["test_split_sha256"]
    return "" if same else f": the test split in {data} is not the one of its card"
