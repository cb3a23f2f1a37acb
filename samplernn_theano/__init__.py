"""SampleRNN, an unconditional end-to-end neural audio generation model, on PyTensor.

Mehri, Kumar, Gulrajani, Kumar, Jain, Sotelo, Courville and Bengio, ICLR 2017, arXiv:1612.07837.

    import samplernn_theano as srnn

    hp = srnn.ThreeTier(dim=256, batch_size=16)
    srnn.train(hp, "data/mine", "runs/mine", srnn.Schedule(max_iters=1000))
    for block in srnn.generate("runs/mine", seconds=10):
        ...
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samplernn_theano.api import conformance, evaluate, generate, load, prepare, resume, score, train
    from samplernn_theano.config.hyperparameters import (
        RNNGMM,
        KTier,
        OneTier,
        SampleRNNGMM,
        ThreeTier,
        TwoTier,
        WaveNet,
    )
    from samplernn_theano.config.schedule import Schedule
    from samplernn_theano.errors import SampleRNNError

__all__ = [
    "RNNGMM",
    "KTier",
    "OneTier",
    "SampleRNNError",
    "SampleRNNGMM",
    "Schedule",
    "ThreeTier",
    "TwoTier",
    "WaveNet",
    "conformance",
    "evaluate",
    "generate",
    "load",
    "prepare",
    "resume",
    "score",
    "train",
]

__version__: str

_MODULES = {"Schedule": "config.schedule", "SampleRNNError": "errors"}
_FUNCTIONS = {name for name in __all__ if name[0].islower()}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import samplernn_theano` alone loads nothing heavy."""
    if name == "__version__":
        return import_module("samplernn_theano.utils.version").package_version()
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "api" if name in _FUNCTIONS else _MODULES.get(name, "config.hyperparameters")
    return getattr(import_module(f"{__name__}.{module}"), name)


def _has_home() -> bool:
    home = os.path.expanduser("~")
    if home == "~":  # neither HOME nor an entry of this user
        return False
    while not os.path.lexists(home) and home != (above := os.path.dirname(home)):
        home = above  # it will be created
    return os.path.isdir(home) and os.access(home, os.W_OK | os.X_OK)


if not _has_home():  # PyTensor needs one that can be written to
    from tempfile import TemporaryDirectory

    os.environ.setdefault("PYTENSORRC", os.path.expanduser("~/.pytensorrc"))
    _home = TemporaryDirectory(prefix="samplernn-home-", ignore_cleanup_errors=True)
    os.environ["HOME"] = _home.name


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*__all__, "__version__"])
