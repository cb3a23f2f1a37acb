"""Figures show what they are given, and are files that can be opened."""

import matplotlib.image
import numpy as np
import pytest

from samplernn_theano.errors import OutputError
from samplernn_theano.utils import plotting
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from samplernn_theano.utils.text import escape_control_characters

LOG = [
    {"event": "start", "parameters": 7},
    {"event": "train", "iteration": 1, "seconds": 60.0, "nll_bits": 7.0},
    {"event": "train", "iteration": 9, "seconds": 120.0, "nll_bits": 5.0},
    {"event": "monitor", "seconds": 120.0, "valid": 5.5, "test": 5.25},
    {"event": "monitor", "seconds": 180.0, "valid": 5.125, "test": None},
    {"event": "end", "seconds": 180.0},
]


def tone(hertz: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / SAMPLE_RATE).astype(np.float32)


def test_a_learning_curve_shows_every_score_over_minutes(tmp_path, drawn):
    plotting.learning_curve(tmp_path / "a.png", LOG)
    (axes,) = drawn[0].axes
    curves = {line.get_label().split(":")[0]: line.get_xydata().tolist() for line in axes.lines}
    assert curves == {
        "train": [[1, 7], [2, 5]],
        "valid": [[2, 5.5], [3, 5.125]],
        "test": [[2, 5.25]],
    }
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["train", "valid: 5.125", "test: 5.250"]  # the latest scores
    assert "minutes" in axes.get_xlabel() and "bits" in axes.get_ylabel()


@pytest.mark.parametrize(
    ("records", "scores"), [([], 0), (LOG[:1], 0), (LOG[:3], 1), (LOG[3:5], 3), (LOG[3:], 3)]
)
def test_a_learning_curve_is_drawn_of_any_part_of_a_log(tmp_path, drawn, records, scores):
    plotting.learning_curve(tmp_path / "new" / "a.png", records)
    legend = drawn[0].axes[0].get_legend()
    assert len(legend.get_texts() if legend else ()) == scores
    assert matplotlib.image.imread(tmp_path / "new" / "a.png").shape == (495, 880, 4)


def test_spectrograms_show_the_pitch_and_the_length_of_each_sound(tmp_path, drawn):
    sounds = {"low": tone(1000, 8000), "high": tone(6000, 4000)}
    plotting.spectrograms(tmp_path / "a.png", sounds)
    low, high, mean = drawn[0].axes
    for axes, title, kilohertz, seconds in ((low, "low", 1, 0.5), (high, "high", 6, 0.25)):
        (image,) = axes.images
        assert axes.get_title() == title
        assert image.origin == "lower"
        assert image.get_extent() == [0, seconds, 0, 8]
        rows = image.get_array()
        middle = rows[:, rows.shape[1] // 2]
        assert abs(8 * middle.argmax() / (len(middle) - 1) - kilohertz) < 0.02
        assert rows.max() == 0 and image.get_clim() == (-90, 0)
    hertz, decibels = mean.lines[0].get_data()
    assert abs(hertz[decibels.argmax()] - 1000) < 4
    assert [line.get_label() for line in mean.lines] == ["low", "high"]
    assert matplotlib.image.imread(tmp_path / "a.png").ndim == 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "sound",
    [np.zeros(2000, np.float32), *(tone(1000, samples) for samples in (1, 100, 511, 512, 1023))],
    ids=len,
)
def test_a_sound_that_is_silent_or_very_short_is_drawn(tmp_path, sound):
    """As generate --seconds 0.01 gives it: 160 samples."""
    plotting.spectrograms(tmp_path / "a.png", {"sound": sound})
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["$x_{$", r"a\$x_{$b", "\udcfc", "\x1b[2J"])
@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_a_name_is_drawn_as_it_is(tmp_path, drawn, name, suffix):
    plotting.spectrograms(tmp_path / f"{name}.{suffix}", {name: tone(100, 2000)})
    title, legend = drawn[0].axes[0].title, drawn[0].axes[-1].get_legend().get_texts()[0]
    assert title.get_text() == legend.get_text() == escape_control_characters(name)
    assert (tmp_path / f"{name}.{suffix}").stat().st_size > 1000


def test_numbers_at_a_logarithmic_axis_are_powers(tmp_path):
    figure = plotting.new_figure(4, 3)
    axes = figure.subplots()
    axes.set(yscale="log", ylim=(1e-5, 1))
    plotting.save_figure(tmp_path / "a.svg", figure)
    labels = axes.get_yticklabels()
    assert labels and all("^" in label.get_text() and label.get_parse_math() for label in labels)


def test_a_picture_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a.png"):
        plotting.learning_curve(tmp_path / "file" / "a.png", LOG)
    with pytest.raises(OutputError, match="a.png"):
        plotting.spectrograms(tmp_path / "file" / "a.png", {"a": tone(100, 2000)})
