"""Generation as the original does it: left padding, silence in between, its wav files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, WaveNet
from samplernn_theano.original import wav


def left_padding(hp: HyperParameters) -> int:
    """Samples of silence at the start of a written sound, part of its length; wavenet's are cut off."""
    return 0 if isinstance(hp, WaveNet) else hp.overlap


def supports(hp: HyperParameters) -> bool:
    """True if the original has such a model and writes its sound: it offers a-law, but lacks it."""
    has = not hp.real_valued and hp.family != "k_tier"
    return has and isinstance(hp, Quantised) and hp.q_type != "a-law"


def silenced(hp: HyperParameters) -> range:
    """Positions of the samples that are drawn and then replaced by silence.

    Quirk: wavenet always feeds itself silence in the third second, except its first sample.
    """
    return range(2 * hp.rate + 1, 3 * hp.rate) if isinstance(hp, WaveNet) else range(0)


def write(path: Path, levels: NDArray, hp: HyperParameters) -> NDArray[np.float32]:
    """Write generated levels (samples,) as the original does; return the amplitudes."""
    assert isinstance(hp, Quantised)  # the original has no other
    padding = np.full(left_padding(hp), hp.silence, levels.dtype)
    written = np.concatenate([padding, levels])
    wav.write(path, written, hp.q_type, hp.rate)
    return wav.amplitudes(written, hp.q_type)
