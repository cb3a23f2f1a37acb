"""The commands that make and check data sets: `samplernn prepare` and `samplernn check-data`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from samplernn_theano.config.argument_types import positive, seed
from samplernn_theano.errors import DataError

# --- prepare ------------------------------------------------------------------------------------------------


def add_prepare(commands: Any) -> None:
    """Add the command `prepare`."""
    parser = commands.add_parser("prepare", help="make a data set out of a folder of recordings")
    parser.add_argument(
        "folder", type=Path, help="recordings: wav, flac, ogg, mp3, ... of any rate, also in sub-folders"
    )
    parser.add_argument(
        "--name", default="clips", help="first part of the files' names (default: %(default)s)"
    )
    parser.add_argument("--clip-seconds", type=float, help="length of a clip (default: 8)")
    parser.add_argument(
        "--speakers", action="store_true", help="each sub-folder is a speaker; no clip holds two of them"
    )
    parser.add_argument(
        "--variable-length", action="store_true", help="each recording is one clip, whatever its length"
    )
    parser.add_argument(
        "--shortest", type=positive, help="with --variable-length: leave out recordings of fewer seconds"
    )
    parser.add_argument("--longest", type=positive, help="with --variable-length: and those of more seconds")
    parser.add_argument(
        "--valid-fraction", type=float, default=0.1, help="share of the clips (default: %(default)s)"
    )
    parser.add_argument(
        "--test-fraction", type=float, default=0.1, help="share of the clips (default: %(default)s)"
    )
    add_common(parser)
    parser.set_defaults(command=_prepare)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what all commands that make a data set have."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set to be made")
    parser.add_argument(
        "--seed", type=seed, default=123, help="of the shuffle of clips (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a data set that is there")
    parser.add_argument(
        "--allow-upsampling", action="store_true", help="also use recordings of less than 16 kHz"
    )


def add_cutting(parser: argparse.ArgumentParser) -> None:
    """Add what the sets have in common that are cut into clips of 8 s, as the paper's."""
    parser.add_argument(
        "--stride",
        type=positive,
        default=8.0,
        help="seconds from clip to clip (default: %(default)g; 1 as the authors' script at the paper's time)",
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="go on without recordings that are missing or damaged"
    )


def _prepare(a: argparse.Namespace) -> int:
    from samplernn_theano.data import prepare, recordings
    from samplernn_theano.data.recipes import Recipe, by_fractions
    from samplernn_theano.data.set_folder import own_files

    if not a.variable_length and (a.shortest or a.longest):
        raise DataError("--shortest and --longest go with --variable-length; else all recordings are cut.")
    if a.variable_length and a.clip_seconds is not None:
        raise DataError("--clip-seconds has no effect with --variable-length; leave it out.")
    recipe = Recipe(
        set="folder",
        name=a.name,
        sizes=by_fractions(a.valid_fraction, a.test_fraction),
        clip_seconds=8.0 if a.clip_seconds is None else a.clip_seconds,
        by_speaker=a.speakers,
        variable_length=a.variable_length,
        shortest=a.shortest or 0.0,
        longest=a.longest or float("inf"),
        seed=a.seed,
        allow_upsampling=a.allow_upsampling,
    )
    found = recordings.find(a.folder, own_files(a.out, a.name))
    report(prepare.build(found, a.out, recipe, a.overwrite), a.out)
    return 0


def check_unused(a: argparse.Namespace, parser: argparse.ArgumentParser, used: str, why: str) -> None:
    """Refuse options that have no effect.

    Parameters
    ----------
    used
        Names of the options that have one, with blanks between them.
    why
        End of the sentence that says why the others have none.

    Raises
    ------
    DataError
        If another option has not its default value.
    """
    for name, value in vars(a).items():
        if name not in used.split() and value != parser.get_default(name):
            raise DataError(f"--{name.replace('_', '-')} has no effect on {why}; leave it out.")


def take_over(a: argparse.Namespace, parser: argparse.ArgumentParser, set_: str, name: str) -> bool:
    """Take over the authors' own files if `--source` holds them; say whether it does."""
    from samplernn_theano.data.import_npy import adopt

    if a.source is None or not (a.source / f"{name}_train.npy").is_file():
        return False
    check_unused(a, parser, "source out overwrite", "the authors' npy files")
    report(adopt(a.source, a.out, set_, name, a.overwrite), a.out)
    return True


def report(manifest: dict[str, Any], out: Path) -> None:
    """Say what was made and how to go on."""
    from samplernn_theano.data.manifest import describe, printable

    print(describe(manifest))
    print(printable(f"The data set is in {out}. To look at it, and to train on it:"))
    word = shlex.quote(f"./{out}" if str(out).startswith("-") else str(out))
    print(printable(f"samplernn check-data {word}"))
    print(printable(f"samplernn train three_tier --preset small --data {word}"))


# --- check-data ---------------------------------------------------------------------------------------------


def add_check_data(commands: Any) -> None:
    """Add the command `check-data`."""
    parser = commands.add_parser("check-data", help="look for what is wrong with a data set")
    parser.add_argument("folder", type=Path, help="folder with *_train.npy, *_valid.npy, *_test.npy")
    parser.add_argument("--picture", type=Path, help="where to draw it (default: check.png in the folder)")
    parser.set_defaults(command=_check_data)


def _check_data(a: argparse.Namespace) -> int:
    from samplernn_theano.data import check

    return check.run(a.folder, a.picture)
