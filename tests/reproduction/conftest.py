"""Two synthetic voices, for all tests of speakers."""

from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.data.sets import demo
from samplernn_theano.reproduction import speaker_classifier
from samplernn_theano.reproduction.speaker_classifier import SEGMENT


@pytest.fixture(scope="session")
def voices(tmp_path_factory) -> Path:
    """A set of the two voices: 12 / 6 / 6 clips of 8 s."""
    folder = tmp_path_factory.mktemp("voices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "VOICE_SPLITS", {"train": 12, "valid": 6, "test": 6})
        demo.write_voices(folder)
    return folder


@pytest.fixture(scope="session")
def samples(voices) -> list[speaker_classifier.Sample]:
    return speaker_classifier.samples(voices)


@pytest.fixture(scope="session")
def classifier(samples) -> speaker_classifier.Classifier:
    return trained(samples)


@pytest.fixture(scope="session")
def spoken() -> dict[str, np.ndarray]:
    """Five segments (5, SEGMENT) of each voice that no set has, and of none."""
    random = np.random.RandomState(7)
    said = {voice: demo.babble(voice, 5 * SEGMENT, random).reshape(5, -1) for voice in ("high", "low")}
    return said | {"none": np.zeros((5, SEGMENT))}


def trained(samples: list[speaker_classifier.Sample]) -> speaker_classifier.Classifier:
    """A classifier that is trained on the training split."""
    training = speaker_classifier.training_split(samples)
    return speaker_classifier.train(training, speaker_classifier.speakers_of(samples))
