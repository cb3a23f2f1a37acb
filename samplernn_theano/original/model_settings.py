"""model_settings.txt of the original's results folders: a readable description of a run."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from samplernn_theano.config.hyperparameters import HyperParameters, ThreeTier, WaveNet
from samplernn_theano.original.tags import RESULTS, Settings


def text(
    folder: Path,
    argv: Sequence[str],
    settings: Settings,
    schedule: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
) -> str:
    """The text of model_settings.txt in `folder`; `schedule` is that of `layout.constants`."""
    constants = _constants(folder, settings) | dict(schedule)
    lines = [
        f"Python:\n\tsys.version_info\t{sys.version_info}",
        f"Numpy:\n\t.__version__\t{np.__version__}",
        f"PyTensor:\n\t.__version__\t{version('pytensor')}",
        f"\n\nAll passed args:\n{list(argv)}\n\nModel settings:",
        *(f"\t{name:<20} {constants[name]}" for name in sorted(constants)),
    ]
    for names in _groups(settings.hp, sorted(shapes)):
        rows = (f"\t{tuple(shapes[name])!s:<20} {name}" for name in names)
        count = sum(int(np.prod(shapes[name])) for name in names)
        lines += ["Params for cost:", *rows, f"Total parameter count for this cost:\n\t{count}"]
    return "\n".join(lines)


def _groups(hp: HyperParameters, names: list[str]) -> list[list[str]]:
    """The parameters of each cost. three_tier has three: of the independent predictions, the rest, all."""
    if not isinstance(hp, ThreeTier):
        return [names]
    ip = [n for n in names if n.startswith("BigFrameLevel.") and not n.startswith("BigFrameLevel.Output.")]
    return [ip, [n for n in names if n not in ip], names]


def _constants(folder: Path, settings: Settings) -> dict[str, Any]:
    """Constants of the original's script that the hyper-parameters determine, under the script's names."""
    hp, prefix = settings.hp, f"{folder.parent.name}/{folder.name}"
    of_wavenet = ("wavenet_blocks", "dilation_layers_per_block", "sequence_len_to_train")  # not listed
    names = [own.name for own in fields(hp) if not own.metadata.get("ours") and own.name not in of_wavenet]
    constants: dict[str, Any] = {name.upper(): getattr(hp, name) for name in names}
    constants |= {"BITRATE": hp.rate, "FOLDER_PREFIX": prefix, "GRAD_CLIP": 1, "RESUME": False}
    constants |= {"LEARNING_RATE": settings.learning_rate, "WHICH_SET": settings.which_set}
    constants |= {"OVERLAP": hp.overlap, "Q_ZERO": hp.silence, "SEQ_LEN": hp.seq_len}
    constants |= {f"{name.upper()}_PATH": f"{prefix}/{name}" for name in ("best", "params", "samples")}
    if not isinstance(hp, WaveNet):
        constants |= {"H0_MULT": 2 if hp.rnn_type == "LSTM" else 1, "RESULTS_DIR": RESULTS[hp.family]}
    if isinstance(hp, ThreeTier):
        constants |= {"BIG_DIM": hp.dim, "N_BIG_RNN": hp.n_rnn, "N_FRAMES": hp.seq_len // hp.frame_size}
    return constants
