"""Scores: the original's are met, each clip has its own, and what cannot be scored is refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.backends.compile import compile_function
from samplernn_theano.checkpoints import load
from samplernn_theano.config.hyperparameters import RNNGMM, OneTier, ThreeTier, TwoTier
from samplernn_theano.data.dataset import SPLITS, Ragged, load_split
from samplernn_theano.errors import DataError
from samplernn_theano.evaluation import nll, score_report
from samplernn_theano.evaluation.standard_errors import by_recording, standard_error
from samplernn_theano.original.results_folder import ResultTree, read_log
from samplernn_theano.original.results_folder import checkpoints as checkpoints_of
from samplernn_theano.original.tags import RESULTS
from samplernn_theano.training.hooks import evaluate_split
from samplernn_theano.training.step import Trainer
from tests.evaluation.conftest import model_of, run, save
from tests.generation.test_samplers import interpreted

GOLDEN = Path(__file__).parents[1] / "golden"
MUSIC = GOLDEN / "feeders" / "corpus" / "music"
TREES = {
    family: ResultTree(next((GOLDEN / "checkpoints" / folder).iterdir()))
    for family, folder in RESULTS.items()
}

TOLERANCE = 5e-7  # relative; measured: 1e-7. float32 sums in another order


def some_clips(n, length=96, seed=0):
    return np.random.RandomState(seed).uniform(-1, 1, (n, length)).astype(np.float16)


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.\d+", text)]


# --- the original's runs


@pytest.mark.parametrize("family", TREES)
def test_the_originals_checkpoints_score_as_its_log_says(family, optimised):
    tree = TREES[family]
    log = read_log(tree)
    files = checkpoints_of(tree)
    assert len(files) == 3
    scorer = nll.compile_scorer(load.read(files[0][1]))
    clips = {split: load_split(MUSIC, split) for split in ("valid", "test")}
    for i, (_, path) in enumerate(files):
        scorer.graph.parameters.assign(load.read(path).parameters)
        for split, key in (("valid", "valid NLL (bits)"), ("test", "test NLL (bits)")):
            scores = nll.score_split(scorer, clips[split])
            np.testing.assert_allclose(scores.bits, log[key][i], rtol=TOLERANCE)
            np.testing.assert_allclose(scores.clips.mean(), log[key][i], rtol=TOLERANCE)


# --- each clip


def test_each_clip_has_its_own_score_whatever_the_batches(quick_graphs):
    """Clips of one length: 11 of them, in batches of 3 and one by one."""
    clips = some_clips(11, length=50)  # one and a half chunks
    clips[4:] *= np.linspace(0.1, 1, 7)[:, None]
    clips[:, :9] = 0.02  # each clip begins in its own way
    clips[:, 3:9] *= np.arange(11)[:, None]
    shape = {"dim": 6, "emb_size": 4, "q_levels": 8, "n_frames": 8, "frame_size": 4, "n_rnn": 1}
    models = [model_of(TwoTier(**shape, batch_size=size)) for size in (3, 1)]
    batches, single = (nll.score_split(nll.compile_scorer(model), clips) for model in models)
    assert batches.left_out == 2 and single.left_out == 0
    assert batches.clips.shape == (9,) and single.clips.shape == (11,)
    np.testing.assert_allclose(batches.clips, single.clips[:9], rtol=1e-6)
    assert len(np.unique(single.clips.round(4))) == 11
    np.testing.assert_allclose(batches.bits, batches.clips.mean(), rtol=1e-6)
    assert batches.standard_error == pytest.approx(np.std(batches.clips, ddof=1) / 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_an_error(quick_graphs, value):
    model = model_of(TwoTier(dim=4, emb_size=2, q_levels=8, n_frames=4, frame_size=4, n_rnn=1, batch_size=2))
    scorer = nll.compile_scorer(model)

    def run(*inputs):
        bits, *others = scorer.run(*inputs)
        return [np.where(np.arange(len(bits))[:, None] == 1, value, bits), *others]

    with pytest.raises(DataError, match="The score of the split under this model is not finite"):
        nll.score_split(replace(scorer, run=run), some_clips(2, length=40))


def test_scoring_is_one_forward_pass():
    """The mean and the scores of the targets, of which it is one, are not computed one beside the other."""
    hp = ThreeTier(dim=8, emb_size=4, q_levels=16, batch_size=2, seq_len=16)
    scorer = nll.compile_scorer(model_of(hp), "jax")
    alone = compile_function(scorer.graph.inputs, [scorer.graph.nll], backend="jax")
    counts = []
    for program in (scorer.run, alone):
        nodes = program.pytensor_function.maker.fgraph.apply_nodes
        counts.append(sum(type(node.op).__name__ in ("Dot", "Dot22", "BatchedDot") for node in nodes))
    assert counts[0] == counts[1] + 1 > 4  # the independent predictions have a product of their own


def test_padding_of_ragged_clips_does_not_count(quick_graphs):
    """The mean over minibatches weighs all chunks equally, as in an evaluation during training."""
    hp = RNNGMM(dim=5, seq_len=16, n_components=2, batch_size=2, mean=0.0, std=0.5)
    offsets = np.cumsum((0, 30, 21, 9, 47))
    clips = Ragged(some_clips(1, offsets[-1])[0], offsets)
    model = model_of(hp)
    scores = nll.score_split(nll.compile_scorer(model), clips)
    single = nll.score_split(nll.compile_scorer(model_of(replace(hp, batch_size=1))), clips)
    np.testing.assert_allclose(scores.clips, single.clips, rtol=1e-5)

    graph = load.build(model)
    f = interpreted(graph.inputs, [graph.cost, *graph.new_states.values()])
    during_training = evaluate_split(Trainer(hp, graph, {}, None, step=f, evaluate=f), clips)
    assert scores.bits == pytest.approx(during_training, rel=1e-6)
    assert abs(scores.bits - scores.clips.mean()) > 1e-3


# --- the command


TONES = ThreeTier(dim=8, emb_size=4, q_levels=16, seq_len=64, batch_size=3)


@pytest.fixture(scope="module")
def tones(small_data, tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint of ours and its data set; 4 clips in the test split."""
    return save(tmp_path_factory.mktemp("checkpoint") / "a.npz", TONES), small_data


def test_evaluate_says_the_score_and_what_was_left_out(tones, capsys, tmp_path, quick_graphs):
    path, data = tones
    assert run("evaluate", path, "--data", data, "--csv", tmp_path / "new" / "a.csv") == 0
    about, score, independent, where = capsys.readouterr().out.splitlines()
    assert about == f"{path}: three_tier, hyper-parameters of the checkpoint"
    match = re.fullmatch(r"test: \S+ bits per sample \(standard error \S+ over 3 clips\)(.*)", score)
    assert match[1] == "; 1 of 4 clips left out, too few for a batch (--set batch_size=1 scores all)"
    assert independent.startswith("independent predictions: ") and where.endswith("a.csv")

    header, *lines = (tmp_path / "new" / "a.csv").read_text().splitlines()
    assert header == "split,clip,nll_bits" and [line.split(",")[1] for line in lines] == ["0", "1", "2"]
    bits = [float(line.split(",")[2]) for line in lines]
    assert numbers(score)[:2] == [round(np.mean(bits), 4), round(standard_error(np.array(bits)), 4)]


def test_a_setting_and_splits_are_taken(tones, capsys, tmp_path, quick_graphs):
    path, data = tones
    words = ["--split", "valid", "--split", "test", "--set", "batch_size=1", "--json", tmp_path / "s.json"]
    assert run("evaluate", path, "--data", data, *words, "--csv", tmp_path / "s.csv") == 0
    out = capsys.readouterr().out
    assert "valid: " in out and "over 4 clips" in out and "left out" not in out

    record = json.loads((tmp_path / "s.json").read_text())
    assert record["family"] == "three_tier" and record["unit"] == "bits per sample"
    table = [line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    for split in ("valid", "test"):
        bits = [float(value) for name, _, value in table if name == split]
        assert record[split]["score"] == pytest.approx(np.mean(bits), rel=1e-6)
        assert record[split]["standard_error"] == pytest.approx(np.std(bits, ddof=1) / 2)
        assert (record[split]["clips"], record[split]["left_out"]) == (4, 0)
        assert f"{split}: {record[split]['score']:.4f} bits" in out


def test_clips_of_one_recording_are_one_observation():
    clips = np.array([1.0, 3.0, 2.0, 4.0, 9.0])
    scores = nll.Scores(3.8, clips, 0, recordings=np.array([7, 7, 2, 2, 5]))
    sums = np.array([4 - 2 * 3.8, 6 - 2 * 3.8, 9 - 3.8])  # deviations from the mean over clips
    assert scores.standard_error == pytest.approx(np.sqrt(3 / 2 * np.sum(sums**2)) / 5)
    assert "over 3 recordings (5 clips)" in score_report.describe_split(scores, "test", OneTier())
    np.testing.assert_array_equal(by_recording(clips, None), clips)
    scores = replace(scores, recordings=np.zeros(5, int))
    assert "per sample (1 recording (5 clips))" in score_report.describe_split(scores, "test", OneTier())


@pytest.mark.parametrize(
    "counts", [[4] * 20, [1] * 40, [1, 1, 2, 3, 5, 12] * 6], ids=["equal", "1", "unequal"]
)
def test_the_standard_error_is_that_of_the_mean_over_clips(counts):
    """By simulation; on recordings of equally many clips it is that of their means."""
    rng, recordings = np.random.default_rng(0), np.repeat(np.arange(len(counts)), counts)
    clips = rng.standard_normal((2000, len(counts)))[:, recordings]  # alike within a recording
    clips += rng.standard_normal(clips.shape)
    found = [standard_error(row, recordings) for row in clips]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(np.std(clips.mean(axis=1)), rel=0.1)
    if len(set(counts)) == 1:
        assert found[0] == pytest.approx(standard_error(by_recording(clips[0], recordings)))


def test_the_scores_of_all_clips_and_their_recordings_are_in_the_record(
    tones, tmp_path, capsys, quick_graphs
):
    """Also of the checkpoints of a run's evaluations; a table of clips that is damaged costs only a note."""
    path, data = tones
    shutil.copytree(data, tmp_path / "set")
    rows = [f"{split},{i},{name}.wav" for split in SPLITS for i, name in enumerate("aabb")]
    rows += [f"train,{i},c.wav" for i in range(4, 8)]
    (tmp_path / "set" / "clips.csv").write_text("\n".join(["split,clip,recording", *rows]))
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    values = model_of(TONES).parameters
    for name, factor in (("best", 1.0), ("i20_v3.0000", 1.0), ("i3_v4.0000", 0.5)):
        save(folder / f"{name}.npz", TONES, {key: factor * array for key, array in values.items()})
    words = ("--data", tmp_path / "set", "--set", "batch_size=1", "--json", tmp_path / "s.json")
    assert run("evaluate", folder.parent, *words) == 0
    one = json.loads((tmp_path / "s.json").read_text())["test"]
    assert one["score"] == pytest.approx(np.mean(one["bits_of_clips"]), rel=1e-6)
    assert len(set(one["recordings"][:2])) == 1 and len(set(one["recordings"])) == 2
    assert "over 2 recordings (4 clips)" in capsys.readouterr().out

    assert run("evaluate", folder.parent, "--kept", *words) == 0
    kept = json.loads((tmp_path / "s.json").read_text())["kept"]
    assert [entry["iteration"] for entry in kept] == [3, 20]
    assert kept[1]["test"] == one and kept[0]["test"]["score"] != one["score"]

    (tmp_path / "set" / "clips.csv").write_text("split,clip,recording\ntest,0,a.wav\n")
    assert run("evaluate", path, *words) == 0
    assert "lists 0 clips of the train split, which has 8" in capsys.readouterr().err
    assert "recordings" not in json.loads((tmp_path / "s.json").read_text())["test"]


def test_real_numbers_are_scored_in_nats_too(small_data, tmp_path, capsys, quick_graphs):
    save(tmp_path / "a.npz", RNNGMM(dim=4, seq_len=200, n_components=2, batch_size=4))
    words = ("evaluate", tmp_path / "a.npz", "--data", small_data)
    assert run(*words) == 2
    assert "give --set mean=... and --set std=..." in capsys.readouterr().err
    assert run(*words, "--set", "mean=-0.001", "--set", "std=0.3") == 0
    bits, nats, *_ = numbers(capsys.readouterr().out.splitlines()[-1])
    assert nats == pytest.approx(bits * np.log(2), abs=1e-4)


def test_what_nothing_tells_is_said_to_be_assumed(tmp_path, capsys):
    """Parameters of the original's without their folder."""
    file = shutil.copy(checkpoints_of(TREES["two_tier"])[0][1], tmp_path / "a.pkl")
    assert run("evaluate", file, "--data", MUSIC) == 2
    out, err = capsys.readouterr()
    assert "hyper-parameters of names and shapes" in out
    assert "q_type=linear" in out and "batch_size=128" in out and "frame_size" not in out
    assert "has 8 clips" in err and "--set batch_size=8" in err


def test_what_cannot_be_scored_is_refused_in_a_sentence(tones, tmp_path, capsys):
    path, data = tones
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    broken = load_split(data, "test").copy()
    broken[1, 7] = np.nan
    np.save(tmp_path / "a_test.npy", broken)
    values = model_of(TONES).parameters
    values["FrameLevel.h0"][0, 0] = np.nan
    save(tmp_path / "nan.npz", TONES, values)
    for words, sentence in {
        (tmp_path / "gone.npz", "--data", data): "no checkpoint .*gone.npz",
        (tmp_path / "run", "--data", data): "holds no parameters",
        (tmp_path / "nan.npz", "--data", data): "FrameLevel.h0 of .*nan.npz has values that are not finite",
        (path, "--data", tmp_path / "gone"): "no data folder",
        (path, "--data", data, "--set", "batch_size=9"): "--set batch_size=4 or less",
        (path, "--data", data, "--set", "seq_len=4096"): "2000 samples long and one chunk needs 4096",
        (path, "--data", data, "--set", "frame=2"): "unrecognized arguments: --frame=2",
        (path, "--data", data, "--set", "dim=9"): r"a.npz \(the checkpoint\): Parameter .* has shape",
        (path, "--data", tmp_path): "Clip 1 of the test split holds NaN",
        (path, "--data", data, "--kept"): "a.npz is no run with checkpoints of evaluations; see train --keep",
        (path, "--data", data, "--kept", "--csv", "x.csv"): "write those of --kept with --json",
    }.items():
        assert run("evaluate", *words) == 2
        err = capsys.readouterr().err
        assert re.search(sentence, err) and err.count("\n") == 1, err


def test_one_clip_has_no_standard_error():
    scores = nll.Scores(1.5, np.array([1.5]), 0)
    assert score_report.describe_split(scores, "test", OneTier()) == "test: 1.5000 bits per sample (one clip)"
