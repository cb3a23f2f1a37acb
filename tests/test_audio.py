"""Reading and writing sound files."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samplernn_theano import audio
from samplernn_theano.errors import DataError, OutputError


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(
    "file, subtype, tolerance",
    [
        ("a.wav", "PCM_16", 4e-5),
        ("a.wav", "PCM_U8", 8e-3),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 1e-6),
        ("a.wav", "ULAW", 2e-2),
        ("a.flac", "PCM_16", 4e-5),
        ("a.flac", "PCM_24", 1e-6),
        ("a.aiff", "PCM_16", 4e-5),
        ("a.au", "PCM_16", 4e-5),
        ("a.ogg", "VORBIS", 3e-2),
        ("a.mp3", "MPEG_LAYER_III", 3e-2),
    ],
)
def test_reads_what_a_file_of_16_khz_holds(tmp_path, file, subtype, tolerance):
    sound = tone(1, 16000)
    soundfile.write(tmp_path / file, sound, 16000, subtype=subtype)
    samples = audio.read_mono(tmp_path / file)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    middle = slice(1600, -1600)  # lossy formats disturb the ends
    np.testing.assert_allclose(samples[middle], sound[middle], atol=tolerance)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_converts_the_rate_and_keeps_pitch_level_and_length(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(1, rate), rate, subtype="FLOAT")
    samples = audio.read_mono(tmp_path / "a.wav")
    assert len(samples) == 16000
    middle = slice(1600, -1600)
    np.testing.assert_allclose(samples[middle], tone(1, 16000)[middle], atol=2e-3)


def test_removes_what_16_khz_cannot_hold(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1, 44100, hertz=12000), 44100, subtype="FLOAT")
    assert np.abs(audio.read_mono(tmp_path / "a.wav")[1600:-1600]).max() < 1e-2


def test_averages_the_channels(tmp_path):
    left, right = tone(0.1, 16000), tone(0.1, 16000, hertz=1000, level=0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    sound = audio.read(tmp_path / "a.wav")
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=1e-6)
    assert (sound.file_rate, sound.channels, sound.clipped) == (16000, 2, 0)


def test_clips_and_counts_what_is_beyond_full_scale(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 1.0, -1.0, -1.5, 3.0]), 16000, subtype="FLOAT")
    sound = audio.read(tmp_path / "a.wav")
    below_one = np.nextafter(np.float32(1), np.float32(0))
    np.testing.assert_array_equal(sound.samples, np.float32([0.5, below_one, -1, -1, below_one]))
    assert sound.clipped == 3


def test_a_long_mp3_comes_whole(tmp_path):
    """Longer than a block of decoding: decoded in one piece it gives the same samples."""
    random = np.random.default_rng(0)
    sound = tone(20, 44100) * 0.4 + 0.1 * random.standard_normal(20 * 44100) * (tone(20, 44100, 0.5) > 0)
    soundfile.write(tmp_path / "a.mp3", sound, 44100, bitrate_mode="VARIABLE")
    assert len(sound) > 5 * audio.BLOCK
    at_once, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    np.testing.assert_array_equal(audio.read_mono(tmp_path / "a.mp3", rate=44100), at_once)


def truncated_flac(path):
    soundfile.write(path, tone(1, 16000), 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[:-5000])


UNREADABLE = {
    "missing": lambda path: None,
    "no bytes": lambda path: path.write_bytes(b""),
    "no sound file": lambda path: path.write_bytes(b"This is a letter, not a recording. " * 50),
    "no samples": lambda path: soundfile.write(path, np.zeros(0), 16000, format="WAV"),
    "half a flac": truncated_flac,
    "NaN": lambda path: soundfile.write(path, np.array([0, np.nan]), 16000, "FLOAT", format="WAV"),
    "infinite": lambda path: soundfile.write(path, np.array([0, np.inf]), 44100, "FLOAT", format="WAV"),
    "rate of 10 Hz": lambda path: soundfile.write(path, tone(1, 10), 10, format="WAV"),
    "rate of 2 GHz": lambda path: soundfile.write(path, tone(1, 100), 2_000_000_011, format="WAV"),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_names_the_file_that_cannot_be_read(tmp_path, make):
    path = tmp_path / "broken.wav"
    make(path)
    with pytest.raises(DataError, match=r"broken\.wav") as caught:
        audio.read_mono(path)
    assert "\n" not in str(caught.value)


def test_a_headerless_file_cannot_be_read(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"a\.raw"):
        audio.read_mono(tmp_path / "a.raw")


@given(arrays(np.int16, st.integers(1, 200)))
def test_16_bit_samples_survive_writing_and_reading(tmp_path_factory, integers):
    path = tmp_path_factory.getbasetemp() / "round-trip.wav"
    audio.write_wav(path, integers / np.float32(32768))
    np.testing.assert_array_equal(audio.read_mono(path) * 32768, integers)


def test_writes_16_bit_mono_and_clips(tmp_path):
    audio.write_wav(tmp_path / "a.wav", np.array([0.0, 1.0, 2.0, -1.0, -2.0]), rate=8000)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, 8000)
    integers, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert integers.tolist() == [0, 32767, 32767, -32768, -32768]
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_does_not_write_nan(tmp_path):
    with pytest.raises(OutputError, match=r"a\.wav"):
        audio.write_wav(tmp_path / "a.wav", np.array([0.0, np.nan]))
    assert list(tmp_path.iterdir()) == []
