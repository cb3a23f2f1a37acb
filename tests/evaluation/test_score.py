"""Scores of recordings: those of evaluate, lower for what the model expects, and bad files keep none else."""

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from samplernn_theano.checkpoints import load
from samplernn_theano.config.hyperparameters import RNNGMM, KTier, OneTier, ThreeTier, TwoTier, WaveNet
from samplernn_theano.data.dataset import Ragged
from samplernn_theano.data.quantization import quantize
from samplernn_theano.errors import DataError
from samplernn_theano.evaluation import nll, score_figures, score_files, score_report
from samplernn_theano.original.results_folder import ResultTree
from samplernn_theano.original.results_folder import checkpoints as checkpoints_of
from samplernn_theano.original.tags import RESULTS
from samplernn_theano.utils.sample_rate import SAMPLE_RATE
from tests.conftest import started
from tests.evaluation.conftest import model_of, run, save

Q = 16
BIAS = -0.5 * (np.arange(Q) - Q // 2) ** 2  # of the output: the model below expects samples around zero
EXPECTING = OneTier(dim=4, emb_size=2, q_levels=Q, n_rnn=1, weight_norm=False)


def bits_of(levels) -> np.ndarray:
    """What `expecting` gives to each of some levels."""
    return (np.log(np.exp(BIAS).sum()) - BIAS[levels]) / np.log(2)


def noise(samples, seed=0) -> np.ndarray:
    """As a 16-bit file holds it."""
    return (np.random.default_rng(seed).integers(-20000, 20000, samples) / 32768).astype(np.float32)


def clicks(samples) -> np.ndarray:
    """Silence but for the first two samples."""
    x = np.zeros(samples, np.float32)
    x[:2] = -0.5, 0.5
    return x


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A model that gives every sample the same probabilities, whatever came before."""
    parameters = model_of(EXPECTING, 0.0).parameters | {"SampleLevel.Output.b": BIAS.astype(np.float32)}
    return save(tmp_path_factory.mktemp("checkpoint") / "a.npz", EXPECTING, parameters)


@pytest.fixture(scope="module")
def scorer(checkpoint) -> nll.Scorer:
    return nll.compile_scorer(load.read(checkpoint), for_recordings=True)


# --- the numbers


@pytest.mark.parametrize(
    "hp",
    [
        ThreeTier(dim=5, emb_size=3, q_levels=Q, seq_len=64, batch_size=1, q_type="linear"),
        RNNGMM(dim=5, seq_len=64, n_components=2, batch_size=1, mean=0.01, std=0.4),
        WaveNet(
            dim=3, wavenet_blocks=2, dilation_layers_per_block=3, sequence_len_to_train=64, batch_size=1,
            q_type="mu-law", normalisation="absmax",
        ),
    ],
    ids=lambda hp: hp.family,
)  # fmt: skip
def test_a_recording_scores_as_evaluate_scores_the_clip(hp, monkeypatch, quick_graphs):
    """Whole chunks, and not; the scorer's chunks are shorter or longer than those of training."""
    monkeypatch.setattr(nll, "CHUNK", 100)
    lengths = (128, 150, 7, 333)
    offsets = np.cumsum((0, *lengths))
    clips = Ragged(noise(offsets[-1]), offsets)
    model = model_of(hp)
    expected = nll.score_split(nll.compile_scorer(model), clips).clips
    scorer = nll.compile_scorer(replace(model, hp=replace(hp, batch_size=3)), for_recordings=True)
    scored = [nll.score_recording(scorer, clip) for clip in clips]
    np.testing.assert_allclose([one.bits for one in scored], expected, rtol=2e-6)
    assert len(np.unique(expected.round(3))) == len(lengths)
    assert scored[3].seconds == 333 / SAMPLE_RATE


@pytest.mark.parametrize(
    ("hp", "length"),
    [
        (TwoTier(frame_size=16, n_frames=3, n_rnn=1), 4096),
        (KTier(frame_sizes=(60, 12, 2), seq_len=60), 4140),
        (OneTier(seq_len=3), 4096),
        (WaveNet(), 8186),  # two receptive fields
    ],
    ids=lambda value: value.family if hasattr(value, "family") else "",
)
def test_a_pass_is_long_and_of_whole_frames(hp, length):
    one = nll._for_one_recording(hp)
    assert (one.seq_len, one.batch_size) == (length, 1)
    changed = {"batch_size", "n_frames", "seq_len", "sequence_len_to_train"} & vars(hp).keys()
    assert replace(one, **{name: getattr(hp, name) for name in changed}) == hp


@pytest.mark.parametrize(
    ("seconds", "windows", "last"),
    [(1.0, 10, 1600), (1.04, 10, 2240), (1.06, 11, 960), (0.01, 1, 160)],
)
def test_the_curve_is_the_mean_of_each_window(scorer, seconds, windows, last):
    x = noise(round(seconds * SAMPLE_RATE))
    bits = bits_of(quantize(x[None], Q, "linear")[0])
    one = nll.score_recording(scorer, x)
    assert one.bits == pytest.approx(bits.mean(), rel=1e-6) and one.seconds == seconds
    expected = [bits[i * 1600 : (i + 1) * 1600].mean() for i in range(windows - 1)] + [bits[-last:].mean()]
    np.testing.assert_allclose(one.curve, expected, rtol=1e-6)
    np.testing.assert_allclose(one.times, np.arange(windows) / 10)


def test_a_window_has_one_sample_at_least_and_progress_is_reported(scorer):
    x, shares = noise(2 * 4096 + 5), []
    one = nll.score_recording(scorer, x, window=1e-9, on_progress=shares.append)
    np.testing.assert_allclose(one.curve, bits_of(quantize(x[None], Q, "linear")[0]), rtol=1e-6)
    assert len(shares) == 3 and sum(shares) == pytest.approx(1)
    for window in (1e300, np.inf):  # and all samples at most
        assert nll.score_recording(scorer, x, window=window).curve == pytest.approx([one.bits])


def test_what_a_model_has_drawn_is_scored_as_it_is(scorer):
    """Not brought to 0..Q-1 again, as the sound of the same levels would be."""
    levels = np.array([7, 8, 8, 9, 7], np.int32)
    raw = nll.score_recording(scorer, levels, raw=True)
    assert raw.bits == pytest.approx(bits_of(levels).mean(), rel=1e-6)
    assert nll.score_recording(scorer, (levels - 8) / 8).bits > raw.bits + 1


@pytest.mark.parametrize(
    ("normalisation", "samples", "sentence"),
    [
        ("min-max", np.zeros(0), "^x.wav has no samples"),
        ("min-max", np.full(9, 0.25), "^x.wav is constant"),
        ("min-max", np.array([0, np.nan]), "^x.wav has samples that are NaN"),
        ("none", np.array([-1.5, 0]), "^x.wav reaches 1.5 "),
        ("none", np.zeros(9), None),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(scorer, normalisation, samples, sentence):
    """The range and constants matter only to some normalisations."""
    own = replace(scorer, hp=replace(scorer.hp, normalisation=normalisation))
    if sentence is None:
        assert nll.score_recording(own, samples).bits == pytest.approx(bits_of(8))
        return
    with pytest.raises(DataError, match=sentence):
        nll.score_recording(own, samples, "x.wav")


def test_a_score_that_is_not_finite_is_an_error(scorer):
    broken = replace(scorer, run=lambda *_: [np.full((1, scorer.hp.seq_len), np.inf), np.zeros(1)])
    with pytest.raises(DataError, match="score of x.wav under this model is not finite"):
        nll.score_recording(broken, noise(9), "x.wav")


# --- the command


def test_recordings_are_ranked_and_bad_ones_are_named(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("some/deep er").mkdir(parents=True)
    Path("none").mkdir()
    soundfile.write("some/b.wav", noise(8000), SAMPLE_RATE)
    soundfile.write("some/deep er/a, $x$.flac", clicks(4000), SAMPLE_RATE)
    stereo = np.stack([clicks(44100), clicks(44100)], axis=1)
    stereo[20000:30000] = noise(10000)[:, None] / 2
    soundfile.write("cd.wav", stereo, 44100)
    soundfile.write("silent.wav", np.zeros(100), SAMPLE_RATE)
    soundfile.write("empty.wav", np.zeros(0), SAMPLE_RATE)
    Path("text.wav").write_text("no sound")
    bad = ["silent.wav", "empty.wav", "text.wav", "gone.wav"]
    words = (*bad, "cd.wav", "some", "cd.wav", "none", "--out", "a.png", "--csv", "new/a.csv")
    assert run("score", *words, "--checkpoint", checkpoint, "--window", "0.05") == 2

    out, err = capsys.readouterr()
    about, *done, resampled, header = out.splitlines()[:6]
    rows, (where_csv, where) = out.splitlines()[6:-2], out.splitlines()[-2:]
    assert about == f"{checkpoint}: one_tier, hyper-parameters of the checkpoint"
    assert resampled == "cd.wav: 44,100 Hz resampled to 16,000 Hz"
    assert header.split("  ")[1:3] == ["rank", "file"] and "nats" not in header
    cells = [re.split(r"  +", row.strip()) for row in rows]
    for i, line in enumerate(done, 1):
        assert re.fullmatch(rf"{i} of 7: (cd.wav|some/.*): \d+\.\d{{4}} bits per sample", line)
    assert "A second of sound takes about" in err
    assert [row[:3] for row in cells] == [
        ["1", "some/deep er/a, $x$.flac", "0.25"],
        ["2", "cd.wav", "1.00"],
        ["3", "some/b.wav", "0.50"],
    ]
    ends = {name: header.index(name) + len(name) for name in ("rank", "seconds", "bits per sample")}
    for row in (header, *rows):
        assert len(row) < 110
        assert all(row[end - 1] != " " and row[end] == " " for end in ends.values())
    assert 0.45 <= float(cells[1][4].split(" at ")[1].removesuffix(" s")) <= 0.65  # where the noise is
    sentences = [line for line in err.splitlines() if line.startswith("samplernn: ")]
    assert len(sentences) == len(bad) + 1
    for name, sentence in zip(["none", *bad], sentences, strict=True):
        assert name in sentence

    with open("new/a.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["file", "seconds", "nll_bits"]
    of_first = [line for line in table if line["file"] == "some/deep er/a, $x$.flac"]
    assert [float(line["seconds"]) for line in of_first] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    mean = np.mean([float(line["nll_bits"]) for line in of_first])
    assert mean == pytest.approx(float(cells[0][3]), abs=1e-4)
    assert len(table) == 5 + 20 + 10
    assert (where_csv, where) == ("The bits of each window are in new/a.csv", "The figure is a.png")
    assert matplotlib.image.imread("a.png").shape[2] == 4


def test_a_reader_that_stops_ends_it_quietly(checkpoint, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(100), SAMPLE_RATE)
    words = ["score", tmp_path / "a.wav", "--checkpoint", checkpoint]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with started(*words, env=buffered) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0 and "Error" not in err, err


def test_nothing_to_score_needs_no_model_compiled(checkpoint, tmp_path, capsys):
    assert run("score", tmp_path, "--checkpoint", checkpoint, "--out", tmp_path / "a.png") == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"samplernn: No recordings in {tmp_path}") and err.count("\n") == 1
    assert not (tmp_path / "a.png").exists() and len(out.splitlines()) == 1


def test_the_deviation_must_be_a_number(checkpoint, tmp_path, capsys):
    path = save(tmp_path / "a.npz", RNNGMM(dim=3, seq_len=8, n_components=2))
    words = ("score", "x.wav", "--checkpoint", path)
    assert run(*words) == 2 and "The mean and standard deviation" in capsys.readouterr().err
    assert run(*words, "--set", "mean=0", "--set", "std=nan") == 2
    assert "--std is nan" in capsys.readouterr().err


# --- the table and the picture


def scored(name, bits=3.0, seconds=1.0) -> nll.RecordingScore:
    times = np.arange(0, seconds, 0.1)
    return nll.RecordingScore(Path(name), seconds, bits, times, np.full(len(times), bits))


def test_the_table_stays_narrow_and_one_recording_has_no_rank():
    long = [scored("a" * 200, -12345.678, 36_000.0), scored("b/" * 60 + "c.wav"), scored("\x1b[31m.wav")]
    header, *rows = score_report.describe_recordings(long, RNNGMM()).splitlines()
    assert "nats" in header and max(map(len, (header, *rows))) < 110
    assert "..." + 33 * "a" in rows[0] and "/b/c.wav " in rows[1] and r"\x1b[31m.wav" in rows[2]
    header, row = score_report.describe_recordings([scored("x.wav", 2.0)], RNNGMM()).splitlines()
    assert "rank" not in header and row.split() == "x.wav 1.00 2.0000 1.3863 2.00 at 0.00 s".split()


def test_names_are_shortened_by_whole_folders():
    path = Path("/first/second/third.wav")
    expected = {23: str(path), 22: ".../second/third.wav", 13: ".../third.wav", 12: "...third.wav"}
    assert {width: score_report.shorten_path(path, width) for width in expected} == expected


def test_the_picture_has_the_curves_and_below_one_its_spectrogram(tmp_path, drawn):
    several = [scored("$\\frac$.wav", 2.0), scored("b.wav", 3.0, seconds=2.0)]
    score_figures.plot_nll_over_time(tmp_path / "a.png", several)
    score_figures.plot_nll_over_time(tmp_path / "b.png", several[:1], noise(SAMPLE_RATE))
    (axes,) = drawn[0].axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["2.000  1. $\\frac$.wav", "3.000  2. b.wav"]
    assert axes.get_xlim() == (0, 2) and axes.get_xlabel() == "seconds" and "bits" in axes.get_ylabel()
    np.testing.assert_allclose(axes.patches[1].get_data().edges, np.arange(21) / 10)
    axes, below = drawn[1].axes
    assert axes.get_xlim() == below.get_xlim() == (0, 1) and below.images
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["2.000  $\\frac$.wav"]
    score_figures.plot_nll_over_time(tmp_path / "c.png", [scored("very short", seconds=0.1)], noise(3))
    assert all((tmp_path / name).exists() for name in ("a.png", "b.png", "c.png"))


def test_a_click_stands_in_the_spectrogram_where_it_is(monkeypatch):
    """Of a short sound and of one so long that there are gaps between the columns."""
    images = []
    monkeypatch.setattr(score_figures, "save_figure", lambda _, figure: images.append(figure.axes[-1].images))
    for seconds, tolerance in ((1, 0.02), (40, 0.04)):
        x = np.zeros(seconds * SAMPLE_RATE, np.float32)
        middle = len(x) // 2
        x[middle - 160 : middle + 160] = noise(320)
        score_figures.plot_nll_over_time("a.png", [scored("x", seconds=seconds)], x)
        left, right, *_ = images[-1][0].get_extent()
        powers = images[-1][0].get_array()
        loudest = (powers.max(axis=0).argmax() + 0.5) / powers.shape[1]
        assert left + loudest * (right - left) == pytest.approx(seconds / 2, abs=tolerance)
        assert powers.shape[1] < 2600


def test_a_checkpoint_of_the_originals_scores_as_evaluate_scores_the_clip(tmp_path):
    """From a file; its levels are those of the samples in the file."""
    (folder,) = (Path(__file__).parents[1] / "golden" / "checkpoints" / RESULTS["two_tier"]).iterdir()
    model = load.read(checkpoints_of(ResultTree(folder))[0][1])
    soundfile.write(tmp_path / "a.wav", noise(500), SAMPLE_RATE)
    with score_files.scoring(model, [tmp_path / "a.wav"]) as (results, _):
        ((_, one),) = results
    clips = Ragged(noise(500), np.array([0, 500]))
    single = nll.compile_scorer(replace(model, hp=replace(model.hp, batch_size=1)))
    scores = nll.score_split(single, clips)
    assert one.bits == pytest.approx(scores.clips[0], rel=2e-6)
