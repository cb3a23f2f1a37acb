"""Encoding as wav, flac and ogg: exact samples, texts, reproducible bytes."""

import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samplernn_theano.data import audio
from samplernn_theano.errors import OutputError
from samplernn_theano.generation import encoders

FORMATS = [("a.wav", False), ("a.wav", True), ("a.flac", False), ("a.ogg", False)]
every_format = pytest.mark.parametrize(("name", "float32"), FORMATS)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.8, 0.8, samples).astype(np.float32)


def written(name: str, blocks: list[np.ndarray], float32: bool = False) -> tuple[bytes, np.ndarray]:
    """Bytes of the file, and its samples as float32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        encoders.write(path, blocks, {"title": "a", "comment": "b"}, float32)
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000 and [p.name for p in Path(folder).iterdir()] == [name]
        return path.read_bytes(), samples


@settings(max_examples=50)
@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-2, 2, width=32)))
def test_16_bit_rounding_equals_that_of_audio(x):
    with tempfile.TemporaryDirectory() as folder:
        audio.write_wav(Path(folder, "b.wav"), x)
        theirs, _ = soundfile.read(Path(folder, "b.wav"), dtype="float32")
    for name in ("a.wav", "a.flac"):
        np.testing.assert_array_equal(written(name, [x])[1], theirs)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 50_000), max_size=8))
def test_the_bytes_do_not_depend_on_the_blocks(name, cuts):
    x = noise(50_000)
    assert written(name, np.split(x, sorted(cuts)))[0] == written(name, [x])[0]


def test_ogg_is_close_to_the_sound_and_a_wav_of_floats_equals_it(tmp_path):
    t = np.arange(2 * 60 * 16000) / 16000
    x = (0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)
    encoders.write(tmp_path / "a.ogg", [x], {})
    back = audio.read_mono(tmp_path / "a.ogg")  # also checks that the last page is complete
    assert len(back) == len(x) and np.abs(back - x).max() < 0.03
    np.testing.assert_array_equal(written("a.wav", [9 * x], True)[1], 9 * x)


@every_format
def test_texts_are_one_line_and_truncated_so_that_they_do_not_hide_others(tmp_path, name, float32):
    """In a wav, libsndfile reads no text after one of 2,047 bytes or more."""
    texts = {"title": "Bücher & “3 < 4”\n\0\udcfc", "comment": "aü" * 2000}
    encoders.write(tmp_path / name, [noise(10)], texts, float32)
    with soundfile.SoundFile(tmp_path / name) as file:
        assert file.title == "Bücher & “3 < 4”\\n\\x00\\udcfc"
        assert ("aü" * 2000).startswith(file.comment) and len(file.comment.encode()) in (1999, 2000)
        assert file.software.startswith("samplernn-theano ")


def test_a_wav_beyond_4_gib_is_rejected_in_advance():
    for float32, message in ((False, "4 GiB, 37.3 h of this sound; choose flac"), (True, "4 GiB, 18.6 h")):
        with pytest.raises(OutputError, match=f"a.wav .* {message}"):
            encoders.check_size(Path("a.wav"), 2**31, float32)
    encoders.check_size(Path("a.wav"), 2**30, float32=False)
    encoders.check_size(Path("a.flac"), 2**31, float32=False)


@every_format
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_nan_is_rejected_and_an_existing_file_is_kept(tmp_path, name, float32, bad):
    """The path need not be UTF-8."""
    path = tmp_path / (os.fsdecode(b"\xfc") + name)
    encoders.write(path, [noise(10)], {}, float32)
    assert soundfile.info(os.fsencode(path)).frames == 10
    before = path.read_bytes()
    with pytest.raises(OutputError, match=f"{name} was not written: the sound holds NaN"):
        encoders.write(path, [noise(20_000), np.array([0, bad])], {}, float32)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@every_format
def test_a_failed_write_is_reported_and_removed(tmp_path, name, float32):
    """As when the disk is full: libsndfile only reports "System error", the message has the cause."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=f"Could not write .*{name}: File too large"):
            encoders.write(tmp_path / name, [noise(200_000)], {}, float32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
