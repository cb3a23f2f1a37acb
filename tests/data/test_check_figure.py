"""The figure of a data set shows the amplitudes of every split and a clip of each."""

import numpy as np
import pytest

from samplernn_theano.data.check_figure import plot_data_set
from samplernn_theano.utils.sample_rate import SAMPLE_RATE


def tone(hertz: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / SAMPLE_RATE).astype(np.float32)


def test_a_data_set_is_drawn_with_its_levels_and_a_clip_of_each_split(tmp_path, drawn):
    counts = {"train": np.array([0, 30, 10, 0]), "test": np.array([1, 0, 0, 1])}
    plot_data_set(tmp_path / "a.png", counts, {"train": tone(1000, 8000), "test": tone(500, 4000)}, rate=8000)
    levels, *clips = drawn[0].axes
    assert [text.get_text() for text in levels.get_legend().get_texts()] == ["train", "test"]
    assert levels.get_yscale() == "log" and levels.get_xlim() == (-1, 1)
    values, edges, _ = levels.patches[0].get_data()
    np.testing.assert_array_equal(values, [np.nan, 0.75, 0.25, np.nan])
    np.testing.assert_array_equal(edges, [-1, -0.5, 0, 0.5, 1])
    for axes, split, seconds in zip(clips, ("train", "test"), (1, 0.5), strict=True):
        assert split in axes.get_title()
        assert axes.images[0].get_extent() == [0, seconds, 0, 4]
        rows = axes.images[0].get_array()
        assert abs(rows[:, rows.shape[1] // 2].argmax() / (len(rows) - 1) - seconds / 8) < 0.003


@pytest.mark.filterwarnings("error")
def test_a_data_set_without_sound_is_drawn(tmp_path):
    nothing = np.zeros(4, int)
    broken = np.array([np.nan, np.inf, -np.inf, 0.5], np.float16)
    plot_data_set(tmp_path / "a.png", {"train": nothing, "test": nothing}, {"train": broken, "test": nothing})
    plot_data_set(tmp_path / "b.png", {"train": nothing}, {})
    assert (tmp_path / "b.png").stat().st_size > 1000
