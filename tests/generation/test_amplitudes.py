"""Amplitudes of samples, and the peak of written sounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samplernn_theano.generation.amplitudes import PEAK, amplitudes, mean_and_scale, waveform
from tests.generation.test_partial import HP, REAL

sounds = hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1, 1, width=32))


@given(sounds)
def test_a_waveform_has_no_offset_and_a_fixed_peak(x):
    y = waveform(x)
    assert not waveform(np.full(10 * len(x), x[0])).any()  # a constant
    if np.ptp(x) < 1e-5:
        return
    assert np.abs(y).max() == pytest.approx(PEAK, rel=1e-5)
    assert abs(y.mean(dtype=float)) < 2e-7 / np.ptp(x)
    assert np.ptp(x) * np.corrcoef(x, y)[0, 1] == pytest.approx(np.ptp(x), rel=1e-3)


@given(sounds, st.lists(st.integers(1, 199), max_size=5))
def test_mean_and_scale_do_not_depend_on_the_segments(x, cuts):
    segments = np.split(x, sorted(cut for cut in set(cuts) if cut < len(x)))
    np.testing.assert_allclose(mean_and_scale(segments), mean_and_scale([x]), rtol=1e-5, atol=1e-7)


def test_amplitudes_of_levels_and_of_normalised_numbers():
    levels = np.arange(32)
    x = amplitudes(levels, HP)
    assert x.dtype == np.float32 and (np.diff(x) > 0).all() and x.min() >= -1 and x.max() <= 1
    curved = amplitudes(np.arange(256), replace(HP, q_type="mu-law", q_levels=256))
    assert np.diff(curved).argmin() in (126, 127, 128)  # the finest steps are around zero
    np.testing.assert_allclose(amplitudes(np.float32([0, 1, -2]), REAL), [0.01, 0.11, -0.19])
