"""The commands `samplernn prepare` and `samplernn check-data`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from samplernn_theano.cli.options import Parser, add_command
from samplernn_theano.config.argument_types import positive, seed
from samplernn_theano.data.recipes import SPLIT_BY


def add_prepare(commands: Any) -> None:
    """Add the command `prepare`."""
    parser = add_command(commands, "prepare", _prepare, "make a data set from a folder of recordings")
    data = parser.groups["data"]
    parser.add_argument(
        "folder", type=Path, help="recordings: wav, flac, ogg, mp3, ... of any rate, also in sub-folders"
    )
    data.add_argument("--name", default="clips", help="prefix of the file names (default: %(default)s)")
    data.add_argument("--clip-seconds", type=float, help="length of a clip (default: 8)")
    data.add_argument(
        "--speakers", action="store_true", help="each sub-folder is a speaker; no clip holds two of them"
    )
    data.add_argument(
        "--split-by",
        choices=SPLIT_BY,
        default="recording",
        help="what is in one split only: recordings (default), clips (shuffled, as the paper's sets), or the "
        "speakers of --speakers",
    )
    data.add_argument(
        "--variable-length", action="store_true", help="each recording is one clip, of any length"
    )
    add_lengths_and_fractions(parser, None, None, 0.1)
    add_common(parser)


def add_lengths_and_fractions(
    parser: Parser, shortest: float | None, longest: float | None, fraction: float
) -> None:
    """Add the lengths of recordings of a set of variable length, and the sizes of the splits."""
    data = parser.groups["data"]
    for name, default, than in (("--shortest", shortest, "fewer"), ("--longest", longest, "more")):
        note = "with --variable-length" if default is None else f"default: {default:g}"
        text = f"leave out recordings of {than} seconds ({note})"
        data.add_argument(name, type=positive, default=default, help=text)
    for split in ("valid", "test"):
        data.add_argument(
            f"--{split}-fraction",
            type=float,
            default=fraction,
            help="fraction of the clips (default: %(default)s)",
        )


def add_common(parser: Parser) -> None:
    """Add the options of all commands that make a data set."""
    data, output = parser.groups["data"], parser.groups["output"]
    output.add_argument("--out", type=Path, required=True, help="folder for the data set")
    data.add_argument(
        "--seed", type=seed, default=123, help="seed of the shuffle of clips (default: %(default)s)"
    )
    output.add_argument("--overwrite", action="store_true", help="replace an existing data set")
    data.add_argument("--allow-upsampling", action="store_true", help="also use recordings below 16 kHz")
    data.add_argument(
        "--allow-clipping", action="store_true", help="also use recordings of which over 1 %% is clipped"
    )


def _prepare(a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.recipes import folder_recipe
    from samplernn_theano.data.set_folder import set_files

    lengths = ("clip_seconds", "variable_length", "shortest", "longest", "valid_fraction", "test_fraction")
    options = ("name", "speakers", "split_by", "seed", "allow_upsampling", "allow_clipping", *lengths)
    recipe = folder_recipe(**{option: getattr(a, option) for option in options})
    found = recordings.find(a.folder, set_files(a.out, a.name))
    return report(prepare.build(found, a.out, recipe, a.overwrite), a.out)


def report(manifest: dict[str, Any], out: Path) -> int:
    """Print a summary of the data set, and the commands to check it and to train on it; return 0."""
    from samplernn_theano.config.presets import PRESETS
    from samplernn_theano.data.manifest import describe

    print(describe(manifest))
    fewest = min(split["clips"] for split in manifest["splits"].values())
    smaller = f" --batch_size {fewest}" if fewest < PRESETS["three_tier"]["small"].batch_size else ""
    folder = shlex.quote(f"./{out}" if str(out).startswith("-") else str(out))
    print(
        f"The data set is in {out}. To check it, and to train on it:\n"
        f"samplernn check-data {folder}\n"
        f"samplernn train three_tier --preset small{smaller} --data {folder}"
    )
    return 0


def add_check_data(commands: Any) -> None:
    """Add the command `check-data`."""
    parser = add_command(commands, "check-data", _check_data, "check a data set before training on it")
    parser.add_argument("folder", type=Path, help="folder with *_train.npy, *_valid.npy, *_test.npy")
    parser.add_argument("--picture", type=Path, help="picture to draw (default: check.png in the folder)")


def _check_data(a: argparse.Namespace) -> int:
    from samplernn_theano.data import check

    return check.run(a.folder, a.picture)
