"""What the original's generation has that ours has not: silence in front, silence within, its wav files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import HyperParameters, Quantised, WaveNet
from samplernn_theano.original import wav
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def samples_in_front(hp: HyperParameters) -> int:
    """How many samples of silence stand in front of what is generated, and count as part of the sound.

    As many as the first step reads; wavenet's are cut off.
    """
    return 0 if isinstance(hp, WaveNet) else hp.overlap


def writes(hp: HyperParameters) -> bool:
    """Whether the original has such a model, and writes its sound: it announces a-law, and lacks it."""
    has = not hp.real_valued and hp.family != "k_tier"
    return has and isinstance(hp, Quantised) and hp.q_type != "a-law"


def silent(hp: HyperParameters) -> range:
    """The samples that are drawn, and then silenced.

    Quirk: wavenet always feeds itself silence in the third second, but for the first sample of it.
    """
    return range(2 * SAMPLE_RATE + 1, 3 * SAMPLE_RATE) if isinstance(hp, WaveNet) else range(0)


def write(path: Path, levels: NDArray, hp: HyperParameters) -> NDArray[np.float32]:
    """Write generated levels (samples,) as the original does; return the amplitudes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    assert isinstance(hp, Quantised)  # the original has no other
    front = np.full(samples_in_front(hp), hp.silence, levels.dtype)
    written = np.concatenate([front, levels])
    wav.write(path, written, hp.q_type)
    return wav.amplitudes(written, hp.q_type)
