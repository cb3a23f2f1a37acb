"""Figure 2 shows the sounds it is given, and the picture can be opened."""

import matplotlib.image
import numpy as np
import pytest

from samplernn_theano.cli.main import main
from samplernn_theano.data import audio
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.reproduction import figures
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

RATE = SAMPLE_RATE


@pytest.mark.parametrize(("ending", "magic"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_chooses_the_format(tmp_path, ending, magic):
    figures.waveforms(tmp_path / f"a.{ending}", {"music": (burst(0.5), burst(1))})
    assert (tmp_path / f"a.{ending}").read_bytes().startswith(magic)
    with pytest.raises(OutputError, match=r"a\.gif was not drawn: its name must end in .*\.pdf or \.svg"):
        figures.waveforms(tmp_path / "a.gif", {"music": (burst(0.5), burst(1))})


def burst(at: float, seconds: float = 3, amplitude: float = 0.5) -> np.ndarray:
    """Silence with an offset, and a tone of 50 ms."""
    x = np.full(round(seconds * RATE), 0.25)
    x[round(at * RATE) :][: RATE // 20] += amplitude * np.sin(np.arange(RATE // 20))
    return x


def test_waveforms_show_two_seconds_and_the_loudest_tenth(tmp_path, drawn):
    columns = {"speech": (burst(0.5), burst(1.5)), "music": (burst(2.5), burst(0.2, seconds=1))}
    figures.waveforms(tmp_path / "a.png", columns)
    panels = np.array(drawn[0].axes).reshape(4, 2)
    assert [axes.get_title() for axes in panels[0]] == ["speech", "music"]
    labels = [axes.get_ylabel().split("\n")[0] for axes in panels[:, 0]]
    assert labels == ["data", "data", "samples", "samples"]
    assert [axes.get_xlim() for axes in panels[:, 1]] == [(0, 2), (0, 100), (0, 2), (0, 100)]
    data, part, samples, _ = panels[:, 0]
    seconds, amplitudes = data.lines[0].get_data()
    assert seconds[-1] == pytest.approx(2, abs=1e-3)
    np.testing.assert_array_equal(amplitudes, columns["speech"][0][: 2 * RATE])
    milliseconds, zoomed = part.lines[0].get_data()
    assert milliseconds[-1] == pytest.approx(100, abs=0.1) and np.ptp(zoomed) > 0.9
    for axes, at in ((data, 0.5), (samples, 1.5)):
        (mark,) = axes.patches
        assert mark.get_x() <= at and mark.get_x() + mark.get_width() >= at + 0.05
        assert mark.get_width() == pytest.approx(0.1)
    assert panels[2, 1].lines[0].get_xdata()[-1] == pytest.approx(1, abs=1e-3)  # of a short sound
    assert matplotlib.image.imread(tmp_path / "a.png").ndim == 3


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros(100), r"The samples of music lasts? 0\.006 s; figure 2 needs at least 0\.1 s"),
        (np.zeros((RATE, 2)), r"the shape \(16000, 2\); figure 2 needs mono"),
        (np.full(RATE, np.nan), "NaN or infinite"),
    ],
)
def test_unfit_sounds_are_refused_in_a_sentence(tmp_path, sound, message):
    with pytest.raises(DataError, match=message):
        figures.waveforms(tmp_path / "a.png", {"music": (np.zeros(RATE), sound)})
    with pytest.raises(DataError, match="at least one data set"):
        figures.waveforms(tmp_path / "a.png", {})
    assert not list(tmp_path.iterdir())


def test_an_offset_is_not_loud():
    slow = np.linspace(0.9, 0, 2000)
    slow[1500:1900] += 0.1 * np.sin(np.arange(400))
    assert figures.loudest(slow, 500) == pytest.approx(1450, abs=60)


def test_silence_of_float16_is_drawn_and_a_name_is_taken_as_it_is(tmp_path, drawn):
    figures.waveforms(tmp_path / "a.svg", {"$x$": (np.zeros(RATE, np.float16), np.zeros(RATE, np.float32))})
    title = drawn[0].axes[0].title
    assert title.get_text() == "$x$" and not title.get_parse_math()


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    out = tmp_path / "a.png"
    for column in ("music", "music=a.wav", "music=a:b:c.wav"):
        with pytest.raises(SystemExit):
            main(["figure", "waveforms", "--column", column, "--out", str(out)])
        assert "is not NAME=DATA:SOUND" in capsys.readouterr().err


def test_the_command_draws_recordings_and_the_first_test_clip_of_a_set(tmp_path, drawn):
    data, sound = burst(0.5), burst(1.0)
    np.save(tmp_path / "my_test.npy", np.stack([data, sound]).astype(np.float16))
    audio.write_wav(tmp_path / "out.wav", sound)
    column = f"music={tmp_path}:{tmp_path / 'out.wav'}"
    assert main(["figure", "waveforms", "--column", column, "--out", str(tmp_path / "a.png")]) == 0
    shown = [drawn[0].axes[row].lines[0].get_ydata() for row in (0, 2)]
    for found, expected in zip(shown, (data, sound), strict=True):
        np.testing.assert_allclose(found, expected[: 2 * RATE], atol=1e-3)
