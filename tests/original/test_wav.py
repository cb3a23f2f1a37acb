"""The original's sound files, byte for byte, against files that it wrote under Python 2."""

from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.original import wav

GOLDEN = Path(__file__).parents[1] / "golden"
WRITTEN = np.load(GOLDEN / "sampling" / "write_audio_file.npz")


pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("name", ["lin256", "lin16", "mulaw256", "constant"])
def test_files_are_the_originals(tmp_path, name):
    """`constant` is a file of NaN, and no warning."""
    wav.write(tmp_path / "x.wav", WRITTEN[f"{name}/int"], "mu-law" if "mulaw" in name else "linear")
    assert (tmp_path / "x.wav").read_bytes() == WRITTEN[f"{name}/file_bytes"].tobytes()


@pytest.mark.parametrize("q_type", ["linear", "mu-law"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_the_file_does_not_depend_on_how_levels_are_kept(q_type, dtype):
    levels = np.random.default_rng(0).integers(3, 250, 300)
    kept = levels.astype(dtype)
    before = kept.copy()
    x = wav.amplitudes(kept, q_type)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, wav.amplitudes(levels, q_type))
    np.testing.assert_array_equal(kept, before)


def test_what_the_original_refuses_is_refused(tmp_path):
    with pytest.raises(HyperParameterError, match="these are a-law; generate without --like-original"):
        wav.write(tmp_path / "x.wav", np.arange(256), "a-law")
    assert not list(tmp_path.iterdir())
