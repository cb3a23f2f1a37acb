"""Files of mp3 that lack a header, or begin or end with something else."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.data import audio
from samplernn_theano.errors import DataError


def noise(seconds: float, rate: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def without_header(path: Path) -> bytes:
    """An mp3 of 4 s and changing bit rate, quiet, then loud, in which nothing tells the length."""
    sound = noise(4, 44100) * 10 * np.repeat([1e-4, 0.2], 2 * 44100)
    soundfile.write(path, sound, 44100, bitrate_mode="VARIABLE", compression_level=0.5)
    return path.read_bytes().replace(b"Xing", bytes(4)).replace(b"Info", bytes(4))


BEHIND = {
    "nothing": b"",
    "zeros": bytes(9000),
    "ID3v1": b"TAG" + b"x" * 125,
    "APE": b"APETAGEX" + bytes([208, 7, 0, 0, 40, 35, 0, 0, 1] + [0] * 15) + b"x" * 9000,
    "Lyrics3": b"LYRICSBEGIN" + b"la " * 3000 + b"009011LYRICSEND" + b"TAG" + b"x" * 125,
    "a web page": b"<html></html>" * 1000,
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize("before", [b"", b"ID3\4\0\0\0\0\x02\0" + bytes(256)], ids=["", "ID3v2"])
def test_an_mp3_without_a_header_is_read_whole(tmp_path, before, behind):
    """libsndfile alone stops where the size of the file makes it expect the end, or reads the tag."""
    path = tmp_path / "a.mp3"
    data = without_header(path)
    path.write_bytes(before + data + behind)
    samples = audio.read_mono(path, rate=44100)
    assert abs(len(samples) - 4.05 * 44100) < 2000
    assert np.std(samples[-40000:-4000]) == pytest.approx(0.2, abs=0.03)  # lossy


@pytest.mark.parametrize("rate", [8000, 16000, 32000, 44100])
@pytest.mark.parametrize("cut", [1, 100, 333, 5000])
def test_an_mp3_that_begins_in_the_middle_of_a_frame_is_read(tmp_path, rate, cut):
    """As a recorded broadcast."""
    soundfile.write(tmp_path / "a.mp3", noise(4, rate), rate)
    data = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(data[cut:])
    lost = 4 * cut / len(data)
    assert abs(len(audio.read_mono(tmp_path / "a.mp3", rate)) / rate - (4 - lost)) < 0.2


def test_the_name_of_a_header_within_the_sound_is_none(tmp_path):
    data = bytearray(without_header(tmp_path / "a.mp3"))
    data[58:62] = b"Xing"
    (tmp_path / "a.mp3").write_bytes(data)
    assert abs(len(audio.read_mono(tmp_path / "a.mp3", rate=44100)) - 4.05 * 44100) < 2000


def test_an_mp3_of_two_that_were_joined_is_read_whole(tmp_path):
    data = without_header(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(data + data)
    assert abs(len(audio.read_mono(tmp_path / "a.mp3", rate=44100)) - 8.1 * 44100) < 3000


def test_an_mp3_without_a_header_and_with_a_hole(tmp_path):
    data = without_header(tmp_path / "a.mp3")
    middle = len(data) // 2
    (tmp_path / "a.mp3").write_bytes(data[:middle] + bytes(3000) + data[middle + 3000 :])
    with pytest.raises(DataError, match=r"holds 3.* s of sound, of which .*\(ffmpeg -i FILE NEW\)"):
        audio.read(tmp_path / "a.mp3")


@pytest.mark.parametrize("behind", [b"", bytes(20_000), np.random.default_rng(1).bytes(100_000)])
def test_bytes_that_resemble_frames_of_mp3_by_chance_are_none(tmp_path, behind):
    data = bytearray(np.random.default_rng(0).bytes(10_000))
    data[1000:1004] = data[1417:1421] = b"\xff\xfb\x90\x00"
    (tmp_path / "a.mp3").write_bytes(data + behind)
    with pytest.raises(DataError, match=r"cannot be decoded \(Format not recognised\)"):
        audio.read(tmp_path / "a.mp3")


def test_the_decoder_of_mp3_in_a_wav_does_not_speak_to_the_terminal(tmp_path, capfd):
    soundfile.write(tmp_path / "a.mp3", noise(4, 44100), 44100)
    sound = (tmp_path / "a.mp3").read_bytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 18, 0x55, 1, 44100, 16000, 1, 0) + bytes(2)
    data = b"RIFF" + struct.pack("<I", len(sound) + 38) + b"WAVE" + form + b"data"
    data += struct.pack("<I", len(sound)) + sound
    middle = len(data) // 2
    (tmp_path / "a.wav").write_bytes(data[:middle] + bytes(3000) + data[middle + 3000 :])
    with pytest.raises(DataError):
        audio.read(tmp_path / "a.wav")
    assert capfd.readouterr() == ("", "")
