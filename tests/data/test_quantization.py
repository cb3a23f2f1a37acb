"""Quantisation: equality with the original, and round trips."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samplernn_theano.data import quantization
from samplernn_theano.errors import DataError

FEEDERS = Path(__file__).parents[1] / "golden" / "feeders"
GOLDEN = np.load(FEEDERS / "quantizers.npz")
ABOUT = json.loads((FEEDERS / "feeders.json").read_text())
NORMALISATIONS = ("min-max", "absmax", "none")
NO_NUMBERS = (np.nan, np.inf, -np.inf)

amplitudes = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1))
"""Already normalised."""


def assert_same(ours: np.ndarray, golden: np.ndarray) -> None:
    np.testing.assert_array_equal(ours, golden)
    assert ours.dtype == golden.dtype


# --- as the original


@pytest.mark.parametrize("q_levels", [2, 16, 64, 256, 1000])
def test_linear_levels_are_the_originals(q_levels):
    ours = quantization.linear_quantize(GOLDEN["linear_quantize/x"], q_levels)
    assert_same(ours, GOLDEN[f"linear_quantize/q{q_levels}"])


@pytest.mark.parametrize("suffix", ["", "_rand"])
def test_mu_law_levels_are_the_originals(suffix):
    """The original's function takes -1..1 where ours takes 0..1."""
    x = (GOLDEN[f"linear2mu/x{suffix}"] + 1) / 2
    assert_same(quantization.mu_law_quantize(x), GOLDEN[f"linear2mu/y{suffix}"])
    assert quantization.mu_law_quantize(x).dtype.name == ABOUT["linear2mu_dtype"]


def test_mu_law_amplitudes_are_the_originals():
    """Equal to the last bit or so: the original's power is that of another version of NumPy."""
    levels = GOLDEN["mu2linear/x_int"]
    for ours, golden in (
        (quantization.mu_law_dequantize(levels), GOLDEN["mu2linear/y"]),
        (quantization.mu_law_dequantize(levels.astype(np.int32)), GOLDEN["mu2linear/y_from_int32"]),
    ):
        assert ours.dtype == golden.dtype == np.dtype(ABOUT["mu2linear_dtype"]) == np.float32
        np.testing.assert_allclose(ours, golden, rtol=2e-6, atol=0)


@pytest.mark.parametrize("q_type, q_levels", [("linear", 256), ("linear", 16), ("mu-law", 256)])
def test_batches_of_clips_are_the_originals(q_type, q_levels):
    ours = quantization.quantize(GOLDEN["batch_quantize/data"], q_levels, q_type)
    assert_same(ours, GOLDEN[f"batch_quantize/{q_type}_{q_levels}"])
    assert ours.dtype.name == ABOUT[f"batch_quantize_dtype_{q_type}"]


def normalised(clips, *options):
    return np.stack([quantization.normalise(clip, *options) for clip in clips])


def test_normalised_clips_are_the_originals():
    assert_same(normalised(GOLDEN["batch_quantize/data"]), GOLDEN["normalize/out"])


@pytest.mark.parametrize("q_type, name", [("linear", "linear"), ("mu-law", "mulaw")])
def test_a_silent_clip_is_refused_where_the_original_divides_by_zero(q_type, name):
    data, golden = GOLDEN["batch_quantize/silent_data"], GOLDEN[f"batch_quantize/silent_{name}_256"]
    assert ABOUT["silent_warnings"] == ["invalid value encountered in divide"]
    assert set(golden[0]) == {-(2**31) if q_type == "linear" else 0}  # NaN made whole
    with pytest.raises(DataError, match="Clip 0 is constant"):
        quantization.quantize(data, 256, q_type)
    assert_same(quantization.quantize(data[1:], 256, q_type), golden[1:])  # the other clip is fine


@pytest.mark.parametrize(
    "normalisation, bad, message",
    [
        ("min-max", (0.0,) * 8, "is constant"),
        ("min-max", (0.25,) * 8, "is constant"),
        *((n, (0.5, bad), "holds NaN or infinite samples") for n in NORMALISATIONS for bad in NO_NUMBERS),
        ("none", (0.5, -1.001), "reaches 1.001 .*--normalisation absmax"),
    ],
)
def test_the_first_clip_that_cannot_be_normalised_is_named(normalisation, bad, message):
    clips = np.random.RandomState(0).uniform(-1, 1, size=(5, 8))
    quantization.quantize(clips, 256, "linear", normalisation)
    clips[3:, : len(bad)] = bad
    with pytest.raises(DataError, match=f"Clip 3 {message}"):
        quantization.quantize(clips, 256, "linear", normalisation)


# --- properties


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@given(drawn=arrays(np.float16, (3, 10), elements=st.floats(-1, 1, width=16)))
def test_normalised_clips_fill_0_to_1_and_the_input_is_left_alone(dtype, drawn):
    clips = drawn.astype(dtype)
    clips[:, 0], clips[:, 1] = 1, -1
    before = clips.copy()
    x = normalised(clips)
    assert x.dtype == np.float64
    assert (x.min(axis=1) == 0).all() and (x.max(axis=1) == 1).all()
    np.testing.assert_allclose(x, (before.astype(np.float64) + 1) / 2)
    np.testing.assert_array_equal(clips, before)


clip = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1, 1))


@pytest.mark.parametrize("normalisation", ["absmax", "none"])
@given(clip=clip, q_levels=st.integers(2, 2000))
def test_silence_has_one_level_in_every_clip_without_min_and_max(normalisation, clip, q_levels):
    """Also in a clip of zeros; the level of left padding, except with the mu-law (quirk)."""
    for q_type, levels, level in (
        ("linear", q_levels, q_levels // 2),
        ("mu-law", 256, 127),
        ("a-law", 256, 128),
    ):
        for loud in (np.append(clip, 0.0), 0 * clip):
            silent = quantization.quantize(loud[None], levels, q_type, normalisation)[0][loud == 0]
            assert (silent == level).all()


def test_silence_has_another_level_in_every_clip_with_min_and_max():
    """Quirk: why there are other normalisations."""
    clips = np.array([[0, 1.0, -1.0], [0, 1.0, -0.5], [0, 0.25, 0.5]])
    assert quantization.quantize(clips, 256, "linear")[:, 0].tolist() == [128, 85, 0]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("q_type", ["linear", "mu-law", "a-law"])
@given(clip=clip, q_levels=st.integers(2, 2000))
def test_levels_are_in_range_and_in_the_order_of_the_amplitudes(q_type, normalisation, clip, q_levels):
    q_levels = q_levels if q_type == "linear" else 256
    clip = np.sort(np.append(clip, [0.75, -0.25]))
    levels = quantization.quantize(clip[None], q_levels, q_type, normalisation)[0]
    assert (np.diff(levels) >= 0).all()
    assert 0 <= levels[0] <= levels[-1] < q_levels


@given(clip=clip, gain=st.integers(-20, 20))
def test_absmax_makes_all_clips_equally_loud(clip, gain):
    clip = np.append(clip, 0.125)
    x = quantization.normalise(clip, "absmax")
    assert x.max() == 1 or x.min() == 0
    np.testing.assert_array_equal(quantization.normalise(clip * 2.0**gain, "absmax"), x)
    np.testing.assert_allclose(2 * x - 1, clip / np.abs(clip).max(), atol=1e-15)


@given(clip)
def test_without_normalisation_amplitudes_stay_what_they_are(clip):
    levels = quantization.quantize(clip[None], 1000, "linear", "none")
    np.testing.assert_allclose(quantization.dequantize(levels, 1000, "linear")[0], clip, atol=1.01e-3)


def test_a_level_begins_five_millionths_early_at_the_bottom_and_late_at_the_top():
    """Quirk: of its width. So the highest amplitude has the highest level, and no level of its own."""
    lowest, highest = np.array([1 - 6e-6, 1 - 4e-6]) / 256, np.array([255 + 4e-6, 255 + 6e-6]) / 256
    assert quantization.linear_quantize(lowest, 256).tolist() == [0, 1]
    assert quantization.linear_quantize(highest, 256).tolist() == [254, 255]
    assert quantization.linear_quantize(np.array([0.0, 1.0]), 256).tolist() == [0, 255]


@given(st.integers(2, 2000))
def test_linear_levels_survive_the_way_to_amplitudes_and_back(q_levels):
    levels = np.arange(q_levels)
    x = (quantization.linear_dequantize(levels, q_levels).astype(np.float64) + 1) / 2
    np.testing.assert_array_equal(quantization.linear_quantize(x, q_levels), levels)


def a_law_position(amplitude: np.ndarray) -> np.ndarray:
    """Amplitudes in [-1, 1] on the scale of the levels, 0..256: the formula of the standard, A = 87.6."""
    y = [
        87.6 * abs(a) / (1 + math.log(87.6))
        if abs(a) < 1 / 87.6
        else (1 + math.log(87.6 * abs(a))) / (1 + math.log(87.6))
        for a in amplitude.astype(np.float64).tolist()
    ]
    return 128 + 128 * np.copysign(y, amplitude)


def test_all_a_law_levels_survive_the_way_to_amplitudes_and_back():
    levels = np.arange(256)
    for dtype in (np.int16, np.int32):
        amplitude = quantization.a_law_dequantize(levels.astype(dtype))
        np.testing.assert_array_equal(quantization.a_law_quantize((amplitude.astype(float) + 1) / 2), levels)
    np.testing.assert_allclose(a_law_position(amplitude), levels + 0.5, atol=1e-4)
    np.testing.assert_array_equal(amplitude, -amplitude[::-1])


def test_the_level_of_silence():
    """The level of left padding in the a-law. Quirk: in the mu-law a silent segment gets a small offset."""
    assert quantization.quantize(np.array([[-0.5, 0.0, 0.5]]), 256, "a-law").tolist() == [[0, 128, 255]]
    assert quantization.mu_law_quantize(np.array([0.5])) == 127
    assert quantization.mu_law_dequantize(np.array([128])) == 0
    assert quantization.mu_law_dequantize(np.array([127])) < 0
