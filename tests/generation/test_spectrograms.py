"""Spectrograms of sound files: power read in blocks, figures."""

import numpy as np
import pytest
import soundfile

from samplernn_theano.errors import DataError
from samplernn_theano.generation import spectrograms
from samplernn_theano.utils import plotting


def tone(hertz: float, samples: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16000)).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 7, 100, 10_000])
@pytest.mark.parametrize("samples", [512, 1023, 4000, 262_143, 262_144, 600_001])
def test_a_spectrogram_read_in_blocks_equals_that_of_the_whole_averaged_over_time(tmp_path, samples, columns):
    x = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", x, 16000, "FLOAT")
    power, seconds, rate = spectrograms.spectrogram(tmp_path / "a.wav", columns)
    whole = plotting.power_spectrogram(x, 1024)
    n = min(columns, whole.shape[1])
    column = np.arange(whole.shape[1]) * n // whole.shape[1]
    expected = np.stack([whole[:, column == i].mean(axis=1) for i in range(n)], axis=1)
    np.testing.assert_allclose(power, expected, rtol=1e-3, atol=1e-5 * whole.max())
    assert (seconds, rate) == (samples / 16000, 16000)


def test_a_figure_shows_the_pitch_and_the_length_of_each_sound(tmp_path):
    soundfile.write(tmp_path / "low.flac", tone(1000, 8000), 16000)
    soundfile.write(tmp_path / "high.ogg", tone(6000, 4000), 16000)
    sounds = {"low": tmp_path / "low.flac", "high": tmp_path / "high.ogg"}
    figure = spectrograms.draw_figure(sounds)
    assert [axes.get_title() for axes in figure.axes] == list(sounds) and figure.get_suptitle() == ""
    for axes, kilohertz, seconds in zip(figure.axes, (1, 6), (0.5, 0.25), strict=True):
        (image,) = axes.images
        assert image.origin == "lower" and image.get_clim() == (-90, 0)
        np.testing.assert_allclose(image.get_extent(), [0, seconds, 0, 8])
        rows = image.get_array()
        assert abs(8 * rows[:, rows.shape[1] // 2].argmax() / (len(rows) - 1) - kilohertz) < 0.02
        assert rows.max() == 0


def test_a_figure_shows_eight_sounds_and_the_number_of_others(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1000, 300), 16000)
    figure = spectrograms.draw_figure({f"{i}": tmp_path / "a.wav" for i in range(20)})
    assert [axes.get_title() for axes in figure.axes] == list("01234567")
    assert figure.get_suptitle() == "8 of 20 sounds; 12 more are not drawn"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [np.zeros(2000), np.zeros(1), [np.nan, np.inf, -np.inf, 0.5]])
def test_a_figure_of_silence_or_nan(tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", np.array(samples, "f"), 16000, "FLOAT")
    assert len(samples) > 511 or spectrograms.spectrogram(tmp_path / "a.wav")[0].shape == (513, 1)
    image = spectrograms.draw_figure({"a": tmp_path / "a.wav"}).axes[0].images[0].get_array()
    assert np.isfinite(image).all()
    assert np.any(samples) or (image < -90).all()  # silence is black


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100])
def test_a_figure_of_an_unreadable_file(tmp_path, content):
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.wav cannot be drawn \("):
        spectrograms.draw_figure({"x": tmp_path / "x.wav"})
