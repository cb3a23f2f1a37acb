"""Simple predictors of a data set: known values, and what they are on sounds whose structure is known."""

import numpy as np
import pytest

from samplernn_theano.data import baselines
from samplernn_theano.data.dataset import Ragged, load_split
from samplernn_theano.data.sets import demo


def test_the_demo_set(tmp_path):
    demo.write(tmp_path / "demo", everything=False)
    found = baselines.measure(load_split(tmp_path / "demo", "train"), load_split(tmp_path / "demo", "test"))
    assert found == pytest.approx((7.22, 4.53, 2.20), abs=0.005)


def tones(*pitches: float) -> np.ndarray:
    time = np.arange(20_000) / 16000
    return np.array([np.sin(2 * np.pi * pitch * time) for pitch in pitches], np.float32)


def test_a_tone_is_predicted_from_the_last_samples_and_noise_is_not():
    unigram, bigram, linear = baselines.measure(tones(201.7, 303.1, 402.3), tones(253.3, 351.9))
    assert linear < 2 < bigram < unigram < 8
    noise = np.random.default_rng(0).uniform(-1, 1, (8, 100_000))
    for bits in baselines.measure(noise[:6], noise[6:]):
        assert 7.95 < bits < 8.75  # the residual of noise has 511 values


def test_a_period_of_two_samples_costs_one_bit_or_none():
    clip = np.tile([1.0, -1.0], 5000)[None]
    unigram, bigram, _ = baselines.measure(clip, clip)
    assert unigram == pytest.approx(1, abs=0.05) and bigram == pytest.approx(0, abs=0.1)


def test_clips_without_structure_are_left_out_and_a_large_set_is_read_in_part(monkeypatch):
    clips = [*tones(200, 300), np.zeros(500, np.float32), np.ones(3, np.float32)]
    offsets = np.cumsum([0, *map(len, clips)])
    clips.append(np.array([np.nan, 1] * 50, np.float32))
    offsets = np.append(offsets, offsets[-1] + 100)
    ragged = Ragged(np.concatenate(clips), offsets)
    assert baselines.measure(ragged, ragged) == baselines.measure(tones(200, 300), tones(200, 300))
    whole = baselines.measure(tones(200, 300), tones(200))
    monkeypatch.setattr(baselines, "MAX_SAMPLES", 20_000)
    part = baselines.measure(tones(200, 300), tones(200))
    assert part == baselines.measure(tones(200), tones(200)) != whole
