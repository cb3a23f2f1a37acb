"""The share of sequences that keep the speaker: always, never, as a coin falls; and the whole experiment."""

import csv
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from samplernn_theano.checkpoints import load, npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import OneTier, SampleRNNGMM, ThreeTier, WaveNet
from samplernn_theano.generation import generate as generation
from samplernn_theano.reproduction import retention
from tests.generation.test_samplers import parameters

HP = OneTier(dim=8, emb_size=4, q_levels=32, seq_len=16, batch_size=1)


def sequence(spoken, before: str, after: str) -> np.ndarray:
    """5 s: the one voice, a second of silence, the other voice."""
    return np.concatenate([spoken[before][0], np.zeros(16000), spoken[after][1]]).astype(np.float32)


def counted(classifier, spoken, pairs) -> dict:
    """As if a model had generated these pairs of voices."""
    waves = {pair: sequence(spoken, *pair) for pair in set(pairs)}
    judged = dict(zip(waves, retention.classify(classifier, np.stack(list(waves.values()))), strict=True))
    return retention.count(np.array([judged[pair] for pair in pairs]))


def drawn(seed: int, n: int, low: float) -> list[tuple[str, str]]:
    """Pairs of voices that are drawn independently."""
    coins = np.random.RandomState(seed).rand(n, 2) < low
    return [("low" if a else "high", "low" if b else "high") for a, b in coins]


def test_a_model_that_always_keeps_the_speaker_and_one_that_never_does(classifier, spoken):
    found = counted(classifier, spoken, [("low", "low"), ("high", "high")] * 20)
    assert (found["clips"], found["kept"], found["share"], found["cannot_tell"]) == (40, 40, 1.0, 0)
    assert 0.9 < found["low"] < found["high"] == 1 and found["chance"] == 0.5
    assert found["p_value"] == pytest.approx(2 * 0.5**40) and found["p_value_chance"] < 1e-9
    assert found["table"] == [[20, 0], [0, 20]]
    found = counted(classifier, spoken, [("low", "high"), ("high", "low")] * 20)
    assert (found["kept"], found["share"], found["low"], found["chance"]) == (0, 0.0, 0.0, 0.5)
    assert found["p_value"] < 1e-9 and found["p_value_chance"] == 1


@pytest.mark.parametrize("low, chance", [(0.5, 0.5), (0.9, 0.9**2 + 0.1**2)])
def test_a_model_that_draws_voices_keeps_one_by_chance(classifier, spoken, low, chance):
    """One that prefers a voice is far above 50 %, and no further than chance."""
    found = counted(classifier, spoken, drawn(1, 200, low))
    assert found["chance"] == pytest.approx(chance, abs=0.05) and found["p_value_chance"] > 0.05
    assert found["low"] < found["chance"] < found["high"]
    assert found["p_value"] > 0.05 if low == 0.5 else found["share"] > 0.7 and found["p_value"] < 1e-6


def test_rows_are_the_speaker_before_and_columns_the_one_after(classifier, spoken):
    found = counted(classifier, spoken, [("high", "low")] * 3 + [("low", "low")])
    assert found["table"] == [[0, 3], [0, 1]] and found["kept"] == 1
    assert found["chance"] == 0.25  # high 3 in 4 and 0 in 4, low 1 in 4 and 4 in 4


def test_sequences_in_which_nobody_speaks_are_counted_apart(classifier, spoken):
    pairs = [("low", "low"), ("none", "low"), ("low", "none"), ("none", "none"), ("low", "high")]
    found = counted(classifier, spoken, pairs)
    assert (found["clips"], found["cannot_tell"], found["kept"], found["share"]) == (5, 3, 1, 0.5)
    found = counted(classifier, spoken, [("none", "none")] * 3)
    assert (found["clips"], found["cannot_tell"], found["kept"]) == (3, 3, 0)
    for name in ("share", "low", "high", "p_value", "chance", "p_value_chance"):
        assert found[name] is None
    wave = sequence(spoken, "none", "none")
    wave[32000:48000] = spoken["low"][0][:16000]  # what is said during the silence does not count
    assert np.isnan(retention.classify(classifier, wave[None])).all()


def test_clips_are_normalised_and_quantised_as_for_the_model():
    clip = np.array([-0.25, 0.0, 0.5], np.float16)
    levels = retention.as_model_input(clip, ThreeTier(q_levels=4))
    np.testing.assert_array_equal(levels, np.float32([-0.75, -0.25, 0.75]))  # min-max, then the nearest level
    np.testing.assert_array_equal(retention.as_model_input(clip, SampleRNNGMM(mean=0.0, std=1.0)), clip)
    constant = np.zeros(3, np.float16)
    np.testing.assert_array_equal(retention.as_model_input(constant, ThreeTier()), constant)


def save(path: Path, hp=HP) -> Path:
    npz.save(path, npz.Checkpoint(hp, parameters(hp).arrays()))
    return path


def retain(capsys, *words, code: int = 0) -> str:
    """Run the command; it must end with the code. What it said."""
    assert main(["retention", *map(str, words)]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


@pytest.fixture
def speaking(monkeypatch, spoken):
    """Let every model say these pairs of voices."""

    def say(*pairs: tuple[str, str]) -> None:
        def generate(model, seconds, n, *, silent, **options):
            assert (seconds, n, silent) == (5.0, len(pairs), range(32000, 48000))
            waves = np.stack([sequence(spoken, *pair) for pair in pairs])
            yield from np.split(waves, [30000], axis=1)

        monkeypatch.setattr(generation, "generate", generate)

    return say


def test_the_command_writes_numbers_a_table_a_picture_and_sounds(voices, tmp_path, capsys, speaking):
    speaking(("low", "low"), ("high", "low"), ("low", "none"))
    out = tmp_path / "out"
    words = (save(tmp_path / "model.npz"), "--data", voices, "--clips", 3, "--out", out, "--sounds", 1)
    said = retain(capsys, *words)
    assert "1 of 2 sequences, 50.0 %" in said
    assert "without voice before or after the silence: 1 of 3" in said
    names = ["retention.csv", "retention.json", "retention.png", "retention_0.wav"]
    assert sorted(path.name for path in out.iterdir()) == names

    result = json.loads((out / "retention.json").read_text())
    assert (result["clips"], result["kept"], result["cannot_tell"]) == (3, 1, 1)
    assert result["speakers"] == ["high", "low"] and result["silence_seconds"] == 1
    assert result["receptive_field_samples"] is None
    a, limit = result["classifier"], result["ceiling"]
    assert a["accuracy"] > 0.95
    for name, of in (("value", "accuracy"), ("low", "low"), ("high", "high")):
        assert limit[name] == pytest.approx(a[of] ** 2 + (1 - a[of]) ** 2)
    assert f"a^2 + (1 - a)^2 = {100 * limit['value']:.1f} % (95-% interval" in said
    assert "not corrected for it." in said and "may be too high" in said

    rows = list(csv.DictReader(open(out / "retention.csv", newline="")))
    found = [(row["speaker_before"], row["speaker_after"], row["kept"]) for row in rows]
    assert found == [("low", "low", "1"), ("high", "low", "0"), ("low", "", "")]
    assert float(rows[1]["posterior_before"]) < 0.5 < float(rows[1]["posterior_after"])
    assert rows[2]["posterior_after"] == ""

    picture = matplotlib.image.imread(out / "retention.png")
    assert picture.shape[1] > 600 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
    sound, rate = soundfile.read(out / "retention_0.wav")
    assert (len(sound), rate) == (80000, 16000)
    assert not sound[32000:48000].any() and np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)


def test_a_model_that_was_not_trained_is_measured_and_says_nothing_certain(voices, tmp_path, capsys):
    words = (save(tmp_path / "model.npz"), "--data", voices, "--clips", 2, "--out", tmp_path / "out")
    said = retain(capsys, *words)
    first = (tmp_path / "out" / "retention.json").read_bytes()
    result = json.loads(first)
    assert result["clips"] == 2 == result["cannot_tell"] and result["share"] is None
    assert "No sequence can be classified" in said
    retain(capsys, *words)
    assert (tmp_path / "out" / "retention.json").read_bytes() == first


def test_a_wavenet_tells_its_receptive_field(voices, tmp_path, speaking):
    hp = WaveNet(dim=4, batch_size=1, wavenet_blocks=2, dilation_layers_per_block=3, sequence_len_to_train=16)
    speaking(("low", "low"))
    result = retention.measure(load.read(save(tmp_path / "model.npz", hp)), voices, clips=1)
    assert result["receptive_field_samples"] == 15
    assert "shorter than the silence" in retention.describe(result)
    assert "longer" in retention.describe(result | {"receptive_field_samples": 16001})


def test_the_ceiling_over_the_interval_of_the_accuracy():
    def ceiling(low, accuracy, high):
        return retention.ceiling({"low": low, "accuracy": accuracy, "high": high})

    found = ceiling(0.8, 0.9, 0.95)
    assert found == pytest.approx({"low": 0.68, "value": 0.82, "high": 0.905})
    assert ceiling(0.4, 0.55, 0.8) == pytest.approx({"low": 0.5, "value": 0.505, "high": 0.68})


@pytest.mark.parametrize(("kept", "direction"), [(9, "higher"), (1, "lower")])
def test_the_direction_of_a_correction_is_said(kept, direction):
    """On 10 sequences, with a classifier that was tested on new recordings."""
    posteriors = np.array([[0.1, 0.1]] * kept + [[0.1, 0.9]] * (10 - kept))
    tested = {"accuracy": 0.9, "low": 0.8, "high": 0.95, "pieces": 1234, "cannot_tell": 5, "doubt": None}
    tested |= {"sampled": "recording", "clusters": 24, "folds": 10}
    result = retention.count(posteriors) | {"classifier": tested, "ceiling": retention.ceiling(tested)}
    said = retention.describe(
        result | {"speakers": ["a", "b"], "silence_seconds": 1.0, "receptive_field_samples": None}
    )
    assert (
        f"farther from 50 %: {direction}." in said
        and "a^2 + (1 - a)^2 = 82.0 % (95-% interval 68.0 to 90.5 %)" in said
    )
    assert "80.0 to 95.0 % for new recordings of these speakers, from 24 recordings" in said
    assert "different recordings in 10 folds" in said and "too high" not in said


def test_what_is_wrong_is_one_sentence(voices, tmp_path, capsys, small_data):
    model = save(tmp_path / "model.npz")
    assert "--speakers" in retain(capsys, model, "--data", small_data, code=2)
    assert "--out" in retain(capsys, model, "--data", voices, "--sounds", 1, code=2)
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in retain(capsys, nowhere, "--data", voices, code=2)
    assert "not a folder" in retain(capsys, model, "--data", voices, "--out", model, code=2)


def test_a_model_whose_numbers_are_not_finite_is_refused(voices, tmp_path, capsys):
    arrays = {name: np.full_like(value, 1e18) for name, value in parameters(HP).arrays().items()}
    npz.save(tmp_path / "large.npz", npz.Checkpoint(HP, arrays))
    said = retain(capsys, tmp_path / "large.npz", "--data", voices, "--clips", 1, code=2)
    assert "samplernn: The model generates numbers that are not finite" in said and "Traceback" not in said
