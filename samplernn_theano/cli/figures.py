"""The command that draws figures 1 and 2 of the paper: `samplernn figure`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.options import Parser, add_set, figure_file
from samplernn_theano.config.hyperparameters import FAMILIES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from samplernn_theano.config.hyperparameters import HyperParameters

OUT = "image file to write, .png, .pdf or .svg"


def add_figure(commands: Any) -> None:
    """Add the command `figure`."""
    parser = commands.add_parser(
        "figure", help="draw figure 1 or 2 of the paper: the unrolled model, waveforms"
    )
    figures = parser.add_subparsers(title="figures", metavar="FIGURE", required=True, parser_class=Parser)
    model = figures.add_parser("model", help="figure 1: a model, unrolled over some of its steps")
    model.add_argument(
        "model",
        metavar="MODEL",
        help=f"a checkpoint, a run (its best checkpoint), or a family: {', '.join(FAMILIES)}",
    )
    model.add_argument("--preset", help="preset of a family (default: best)")
    add_set(model, "override a hyper-parameter, such as frame_size=4")
    model.add_argument("--out", type=figure_file, required=True, help=OUT)
    model.set_defaults(command=_model)
    waveforms = figures.add_parser("waveforms", help="figure 2: waveforms of data and of generated samples")
    waveforms.add_argument(
        "--column",
        metavar="NAME=DATA:SOUND",
        type=_column,
        action="append",
        required=True,
        help="name of a data set, a recording of it (or its folder: the first test clip), and a generated "
        "sound; may be repeated",
    )
    waveforms.add_argument("--out", type=figure_file, required=True, help=OUT)
    waveforms.set_defaults(command=_waveforms)


def _model(a: argparse.Namespace) -> int:
    from samplernn_theano.reproduction import figures

    figures.unrolled(a.out, _hyperparameters(a))
    print(f"Wrote {a.out}")
    return 0


def _hyperparameters(a: argparse.Namespace) -> "HyperParameters":
    """The hyper-parameters of a family's preset, or of a checkpoint."""
    from samplernn_theano.config import flags, presets
    from samplernn_theano.errors import HyperParameterError

    if a.model in FAMILIES:
        given = flags.read_settings(FAMILIES[a.model], a.set)
        return presets.preset(a.model, a.preset or "best", given)
    if a.preset:
        raise HyperParameterError(
            f"--preset {a.preset} needs a family, and {a.model} is not one; name one of "
            f"{', '.join(FAMILIES)}, or leave --preset out."
        )
    from samplernn_theano.checkpoints import load

    return load.read(a.model, a.set).hp


def _waveforms(a: argparse.Namespace) -> int:
    from samplernn_theano.data import audio
    from samplernn_theano.reproduction import figures

    columns = {name: (_recording(data), audio.read_mono(sound)) for name, data, sound in a.column}
    figures.waveforms(a.out, columns)
    print(f"Wrote {a.out}")
    return 0


def _recording(path: Path) -> "NDArray[np.floating]":
    """Read an audio file, or the first clip of a data set's test split."""
    from samplernn_theano.data import audio, dataset
    from samplernn_theano.errors import DataError

    if not path.is_dir():
        return audio.read_mono(path)
    test = dataset.load_split(path, "test")
    if not len(test):
        raise DataError(f"The test split of {path} has no clips; give a recording instead.")
    return test[0]


def _column(argument: str) -> tuple[str, Path, Path]:
    """Parse NAME=DATA:SOUND."""
    name, equals, files = argument.partition("=")
    data, colon, sound = files.partition(":")
    if not (name and equals and data and colon and sound) or ":" in sound:
        raise argparse.ArgumentTypeError(
            f"{argument!r} is not NAME=DATA:SOUND, such as music=data/music:out.wav (file names with a colon "
            "are not supported)"
        )
    return name, Path(data), Path(sound)
