"""The original's wav files, byte for byte: float32, mono, 16 kHz (of forks, theirs).

Quirk: the minimum of a sequence becomes -0.475 and the maximum 0.475, so a DC offset may remain.
Quirk: a constant sequence is divided by its range, 0, and becomes a file of NaN.
"""

from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.utils.files import atomic_write
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def write(path: Path, levels: NDArray[np.integer], q_type: str, rate: int = SAMPLE_RATE) -> None:
    """Write the levels (samples,) of a sequence as the original does."""
    x = amplitudes(levels, q_type)
    with atomic_write(path) as temporary:
        scipy.io.wavfile.write(temporary, rate, x)  # SciPy's header is the same as in 2016


def amplitudes(levels: NDArray[np.integer], q_type: str) -> NDArray[np.float32]:
    """The original's amplitudes of the levels (samples,) of a sequence, in float32 and the same order."""
    if q_type == "linear":
        x = levels.astype(np.float32)
    elif q_type == "mu-law":
        x = _mu_law_amplitudes()[levels]
    else:
        raise HyperParameterError(
            f"The original writes linear and mu-law levels only, and these are {q_type}; "
            "generate without --like-original."
        )
    x -= x.min()
    highest = x.max()
    if highest == 0:
        return np.full_like(x, -np.nan)  # 0 / 0 has its sign bit set on the original's processors
    x /= highest
    x -= np.float32(0.5)
    x *= np.float32(0.95)
    return x


def _mu_law_amplitudes() -> NDArray[np.float32]:
    """As `data.quantization`, but equal on every machine: NumPy's float32 power depends on the processor."""
    y = (np.arange(256) - 128) / 128
    power = (256 ** np.abs(y)).astype(np.float32)
    return np.sign(y).astype(np.float32) * np.float32(1 / 255) * (power - np.float32(1))
