"""The command that measures information retention: `samplernn retention`."""

import argparse
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import add_backend, add_set
from samplernn_theano.config.argument_types import count, positive, positive_int, seed


def add_retention(commands: Any) -> None:
    """Add the command `retention`."""
    parser = commands.add_parser(
        "retention", help="measure if a model keeps the speaker over a second of silence"
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="a checkpoint (.npz, or .pkl of the original) or a run (its best checkpoint)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="data set of two speakers (samplernn prepare --speakers), ideally the training data",
    )
    parser.add_argument(
        "--clips", type=positive_int, default=100, help="sequences of 5 s to generate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="seed of the sampling (default: 0)")
    parser.add_argument("--temperature", type=positive, default=1.0, help="sampling temperature (default: 1)")
    parser.add_argument(
        "--out", type=Path, help="folder for retention.json, a table of all sequences and a figure"
    )
    parser.add_argument(
        "--sounds", type=count, default=0, help="number of sequences to write to --out as wav (default: 0)"
    )
    add_set(parser, "a hyper-parameter that is not stored in the original's files, such as q_type=mu-law")
    add_backend(parser)
    parser.set_defaults(command=_retention)


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
