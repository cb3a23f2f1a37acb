"""Figures 1 and 2: what they show follows from the hyper-parameters and the sounds; they can be opened."""

import re
from collections import Counter
from functools import cache

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from samplernn_theano.cli.figures import add_figure
from samplernn_theano.cli.options import Parser
from samplernn_theano.config.hyperparameters import (
    RNNGMM,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.config.presets import PRESETS
from samplernn_theano.data import audio
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.reproduction import draw_tiers, draw_tree, figures, unrolling
from samplernn_theano.utils.commands import run_command
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

RATE = SAMPLE_RATE
WIDE = KTier(frame_sizes=(512, 128, 1), seq_len=1024, rnn_type="LSTM", n_rnn=5)
DRAWN = [ThreeTier(), TwoTier(skip_conn=True), RNNGMM(frame_size=8), WIDE]
LAID_OUT = [
    *(presets["best"] for family, presets in PRESETS.items() if family != "wavenet"),
    WIDE,
    ThreeTier(big_frame_size=16, frame_size=4),
    KTier(frame_sizes=(64, 32, 16, 8, 4, 2)),
    KTier(frame_sizes=(1,)),
    TwoTier(frame_size=512, n_frames=1),
]


def figure(*words) -> int:
    """Run `samplernn figure ...`."""
    parser = Parser(prog="samplernn")
    add_figure(parser.add_subparsers(parser_class=Parser))

    def run() -> int:
        arguments = parser.parse_args(["figure", *map(str, words)])
        return arguments.command(arguments)

    return run_command(run)


@cache
def draw(hp) -> Axes:
    return draw_tree.draw(hp) if isinstance(hp, WaveNet) else draw_tiers.draw(hp)


def elements(axes) -> Counter:
    """How many of each kind of element were drawn."""
    return Counter(artist.get_gid() for artist in [*axes.patches, *axes.lines, *axes.texts])


# --- figure 1: what is shown --------------------------------------------------------------------------------


def test_the_authors_three_tiers_are_unrolled_in_full_over_two_big_frames():
    big, frame, sample = unrolling.rows(ThreeTier())
    assert [row.title for row in (big, frame, sample)] == ["BigFrameLevel", "FrameLevel", "SampleLevel"]
    assert [step.reads for step in big.steps] == [range(-8, 0), range(0, 8)]
    assert [step.reads for step in frame.steps] == [range(n - 2, n) for n in range(0, 16, 2)]
    assert [step.reads for step in sample.steps] == [range(n - 2, n) for n in range(16)]
    assert [step.begin for step in sample.steps] == list(range(16))
    assert big.about == ["8 samples a step", "GRU, 1024 wide", "upsampled to 4"]
    assert "2 samples a step" in frame.about and "upsampled to 2" in frame.about
    assert {"embedded in 256", "MLP: 1024, 1024", "softmax: 256 levels"} < set(sample.about)


def test_of_long_frames_the_first_samples_and_the_last_are_shown():
    frame, sample = unrolling.rows(TwoTier(frame_size=16))
    assert [step.reads for step in frame.steps] == [range(-16, 0), range(0, 16)]
    begins = [step.begin for step in sample.steps]
    assert begins == [*range(6), 15, *range(16, 22), 31]
    assert [step.reads for step in sample.steps] == [range(n - 16, n) for n in begins]
    assert len(sample.gaps) == 3  # in each frame, and after the last


@pytest.mark.parametrize("hp", LAID_OUT, ids=lambda hp: hp.family)
def test_steps_are_above_the_samples_they_condition_and_none_overlap(hp):
    rows = unrolling.rows(hp)
    for row in rows:
        places = sorted([(s.left, s.right) for s in row.steps] + [tuple(gap) for gap in row.gaps])
        assert places[0][0] == 0 and places[-1][1] == pytest.approx(unrolling.last_column(rows))
        assert all(a[1] == pytest.approx(b[0]) for a, b in zip(places, places[1:], strict=False))
        assert all(a.right < b.left for a, b in zip(row.gaps, row.gaps[1:], strict=False))
        assert all(step.begin % row.frame_size == 0 for step in row.steps)
        assert max(step.begin for step in row.steps) + row.frame_size <= hp.seq_len
    for slow, fast in zip(rows, rows[1:], strict=False):
        for step in slow.steps:
            below = [s for s in fast.steps if step.left <= s.left and s.right <= step.right + 1e-9]
            assert below[0].begin == step.begin
            assert all(s.begin < step.begin + slow.frame_size for s in below)
    assert unrolling.last_column(rows) <= unrolling.MOST_COLUMNS + unrolling.GAP


def test_the_ablations_read_what_they_say():
    def sample_tier(**changes):
        return unrolling.rows(TwoTier(**changes))[-1]

    alone = sample_tier(multi_softmax=True)
    assert not any(step.reads for step in alone.steps) and "reads no samples" in alone.about
    assert "one-hot" in sample_tier(emb_size=0).about
    assert "as numbers" in sample_tier(sample_input="real").about
    assert "20 Gaussians" in unrolling.rows(SampleRNNGMM())[-1].about


def test_plain_networks_make_a_step_for_every_frame():
    (row,) = unrolling.rows(OneTier(n_rnn=2, rnn_type="LSTM", emb_size=17))
    assert [step.reads for step in row.steps] == [range(n - 1, n) for n in range(6)]
    assert row.boxes == ["2×LSTM", "MLP", "softmax"]
    assert row.about[:3] == ["1 sample a step", "embedded in 17", "2×LSTM, 1024 wide"]
    (row,) = unrolling.rows(RNNGMM(frame_size=8))
    assert [step.reads for step in row.steps][:2] == [range(-8, 0), range(0, 8)]
    assert row.boxes == ["GRU", "MLP", "GMM"]


def test_a_pass_that_is_shown_whole_has_no_gap_after_it():
    rows = unrolling.rows(KTier(frame_sizes=(2,), seq_len=4))
    assert [len(row.steps) for row in rows] == [2, 4] and not any(row.gaps for row in rows)


def test_a_dilated_tree_follows_the_dilations():
    tree = unrolling.tree(WaveNet())
    assert tree.dilations == [1, 2, 4, 8]
    assert [len(nodes) for nodes in tree.nodes] == [16, 8, 4, 2, 1]
    assert tree.nodes[0] == list(range(-16, 0)) and tree.nodes[2] == [-13, -9, -5, -1]
    assert tree.left_out == ["6 more layers of this block, dilations 16 to 512", "3 more blocks of 10 layers"]


def test_a_dilated_tree_continues_in_the_next_block():
    tree = unrolling.tree(WaveNet(wavenet_blocks=5, dilation_layers_per_block=2))
    assert tree.dilations == [1, 2, 1, 2, 1] and tree.n_samples == 8
    assert tree.left_out == ["1 more layer of this block, dilation 2", "2 more blocks of 2 layers"]
    whole = unrolling.tree(WaveNet(wavenet_blocks=1, dilation_layers_per_block=3))
    assert whole.n_samples == 8 and whole.left_out == []


# --- figure 1: how it is drawn ------------------------------------------------------------------------------


@pytest.mark.parametrize("hp", DRAWN, ids=lambda hp: hp.family)
def test_every_step_is_drawn_with_what_it_reads_its_state_and_its_vector(hp):
    rows, found = unrolling.rows(hp), elements(draw(hp))
    steps = sum(len(row.steps) for row in rows)
    assert found["step"] == found["read"] == found["reads"] == steps
    assert found["vector"] == steps - len(rows[0].steps)
    assert found["predicted"] == len(rows[-1].steps)
    assert found["gap"] == sum(len(row.gaps) for row in rows)
    assert found["state"] == sum(len(row.steps) + len(row.gaps) for row in rows if row.recurrent)


def test_without_previous_samples_the_sample_tier_gets_the_vector_alone():
    found = elements(draw(TwoTier(multi_softmax=True)))
    assert found["read"] == 2 and found["vector"] == 14


def test_a_dilated_tree_is_drawn_with_two_edges_to_a_node():
    axes = draw(WaveNet())
    found = elements(axes)
    assert found["needed"] == 31 and found["edge"] == 30
    assert found["skip"] == 4
    assert "4,093 samples" in " ".join(text.get_text() for text in axes.texts)


@pytest.mark.parametrize("hp", [*DRAWN, WaveNet()], ids=lambda hp: hp.family)
def test_no_words_overlap_or_leave_the_figure(hp):
    axes = draw(hp)
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    page = axes.figure.bbox
    assert all(page.x0 <= b.x0 and b.x1 <= page.x1 and page.y0 <= b.y0 and b.y1 <= page.y1 for b in boxes)
    corners = np.array([[b.x0, b.y0, b.x1, b.y1] for b in boxes])
    low, high = corners[:, None, :2], corners[:, None, 2:]
    shared = np.minimum(high, corners[None, :, 2:]) - np.maximum(low, corners[None, :, :2])
    overlap = (shared > 1).all(axis=2)  # of more than a pixel, in both directions
    np.fill_diagonal(overlap, False)
    texts = [text.get_text() for text in axes.texts]
    assert [(texts[i], texts[j]) for i, j in np.argwhere(overlap)] == []


@pytest.mark.parametrize(("ending", "magic"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_chooses_the_format(tmp_path, ending, magic):
    figures.unrolled(tmp_path / f"a.{ending}", WaveNet(dilation_layers_per_block=1))
    assert (tmp_path / f"a.{ending}").read_bytes().startswith(magic)


def test_another_ending_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(
        OutputError, match=r"a\.gif was not drawn: its name must end in \.png, \.pdf or \.svg"
    ):
        figures.unrolled(tmp_path / "a.gif", OneTier())
    with pytest.raises(OutputError, match=r"must end in"):
        figures.waveforms(tmp_path / "a", {"music": (np.zeros(RATE), np.zeros(RATE))})


# --- figure 2 -----------------------------------------------------------------------------------------------


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
    assert [re.split(r"\n", axes.get_ylabel())[0] for axes in panels[:, 0]] == [
        "data",
        "data",
        "samples",
        "samples",
    ]
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
    assert panels[2, 1].lines[0].get_xdata()[-1] == pytest.approx(
        1, abs=1e-3
    )  # a short sound is drawn as it is
    assert data.get_ylim() == part.get_ylim()
    assert len(drawn[0].artists) == 8  # two lines from each mark to what it marks
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


# --- samplernn figure ---------------------------------------------------------------------------------------


def test_the_command_draws_a_family_with_changes(tmp_path, drawn, capsys):
    out = tmp_path / "a.png"
    words = ("model", "three_tier", "--preset", "small", "--set", "frame_size=4", "--out", out)
    assert figure(*words) == 0
    assert str(out) in capsys.readouterr().out
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert "GRU, 256 wide" in texts and "4 samples a step" in texts


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    out = tmp_path / "a.png"
    assert figure("model", tmp_path / "none.npz", "--out", out) == 2
    assert "none.npz" in capsys.readouterr().err
    assert figure("model", tmp_path, "--preset", "small", "--out", out) == 2
    assert "needs a family" in capsys.readouterr().err
    for column in ("music", "music=a.wav", "music=a:b:c.wav"):
        with pytest.raises(SystemExit):
            figure("waveforms", "--column", column, "--out", out)
        assert "is not NAME=DATA:SOUND" in capsys.readouterr().err


def test_the_command_draws_recordings_and_the_first_test_clip_of_a_set(tmp_path, drawn):
    data, sound = burst(0.5), burst(1.0)
    np.save(tmp_path / "my_test.npy", np.stack([data, sound]).astype(np.float16))
    audio.write_wav(tmp_path / "out.wav", sound)
    column = f"music={tmp_path}:{tmp_path / 'out.wav'}"
    assert figure("waveforms", "--column", column, "--out", tmp_path / "a.png") == 0
    shown = [drawn[0].axes[row].lines[0].get_ydata() for row in (0, 2)]
    for found, expected in zip(shown, (data, sound), strict=True):
        np.testing.assert_allclose(found, expected[: 2 * RATE], atol=1e-3)
