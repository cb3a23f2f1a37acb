"""The command that measures information retention: `samplernn retention`."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import MODEL, add, add_backend, add_command, add_set
from samplernn_theano.config.argument_types import count, positive, positive_int, seed


def add_retention(commands: Any) -> None:
    """Add the command `retention`."""
    text = "measure if a model keeps the speaker over a second of silence"
    parser = add_command(commands, "retention", _retention, text)
    add(parser, "checkpoint", MODEL, Path)
    text = "data set of two speakers (samplernn prepare --speakers), ideally the training data"
    add(parser, "--data", text, Path, required=True)
    add(parser, "--clips", "sequences of 5 s to generate", positive_int, 100)
    add(parser, "--seed", "seed of the sampling", seed, 0)
    add(parser, "--temperature", "sampling temperature", positive, 1.0)
    add(parser, "--out", "folder for retention.json, a table of all sequences and a figure", Path)
    add(parser, "--sounds", "number of sequences to write to --out as wav", count, 0)
    add_set(parser, "a hyper-parameter that is not stored in the original's files, such as q_type=mu-law")
    add_backend(parser)


def _retention(a: argparse.Namespace) -> int:
    from samplernn_theano.checkpoints import load
    from samplernn_theano.data.manifest import printable
    from samplernn_theano.errors import OutputError
    from samplernn_theano.evaluation import score_report
    from samplernn_theano.reproduction import retention

    if a.sounds and a.out is None:
        raise OutputError("--sounds needs a folder to write to; give --out FOLDER.")
    model = load.read(a.checkpoint, a.set)
    print(score_report.describe_model(model), flush=True)
    result = retention.measure(
        model,
        a.data,
        a.clips,
        a.seed,
        a.temperature,
        backend=a.backend,
        out=a.out,
        sounds=a.sounds,
        progress=True,
    )
    print(printable(retention.describe(result)))
    if a.out:
        print(f"In {a.out}: retention.json, retention.csv, retention.png")
    return 0
