"""The command that draws figure 2 of the paper: `samplernn figure waveforms`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplernn_theano.cli.options import Parser, add, add_command, figure_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def add_figure(commands: Any) -> None:
    """Add the command `figure`."""
    parser = commands.add_parser("figure", help="draw figure 2 of the paper: waveforms")
    figures = parser.add_subparsers(title="figures", metavar="FIGURE", required=True, parser_class=Parser)
    text = "figure 2: waveforms of data and of generated samples"
    waveforms = add_command(figures, "waveforms", _waveforms, text)
    text = (
        "name of a data set, a recording of it (or its folder: the first test clip), and a generated sound; "
        "may be repeated"
    )
    column = {"metavar": "NAME=DATA:SOUND", "action": "append", "required": True}
    add(waveforms, "--column", text, _column, **column)
    add(waveforms, "--out", "image file to write, .png, .pdf or .svg", figure_file, required=True)


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
