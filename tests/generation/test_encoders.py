"""Encoding as wav, flac and ogg: exact samples, metadata, reproducible bytes."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
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
from samplernn_theano.utils.text import escape_control_characters

FORMATS = [("a.wav", False), ("a.wav", True), ("a.flac", False), ("a.ogg", False)]
every_format = pytest.mark.parametrize(("name", "float32"), FORMATS)
amplitudes = st.floats(-1, 1, width=32, exclude_max=True)
sounds = arrays(np.float32, st.integers(1, 300), elements=amplitudes)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.8, 0.8, samples).astype(np.float32)


def written(
    name: str, blocks: list[np.ndarray], metadata: dict | None = None, float32: bool = False
) -> tuple[bytes, np.ndarray]:
    """Bytes of the file, and its samples as float32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        encoders.write(path, blocks, metadata or {}, float32)
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000 and [p.name for p in Path(folder).iterdir()] == [name]
        return path.read_bytes(), samples


@st.composite
def split_sounds(draw: st.DrawFn) -> list[np.ndarray]:
    sound = draw(sounds)
    return np.split(sound, sorted(draw(st.lists(st.integers(0, len(sound)), max_size=5))))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@settings(max_examples=50)
@given(blocks=split_sounds())
def test_any_sound_is_kept_within_half_a_step(name, blocks):
    x = np.concatenate(blocks)
    _, samples = written(name, blocks)
    clipped = x > 32767.5 / 32768  # would round beyond the highest level
    assert (np.abs(samples - x)[~clipped] <= 0.5 / 32768).all()
    assert (samples[clipped] == 32767 / 32768).all()


@settings(max_examples=30)
@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-9, 9, width=32)))
def test_a_wav_of_floats_keeps_every_sample(x):
    _, samples = written("a.wav", [x], float32=True)
    np.testing.assert_array_equal(samples, x)


@settings(max_examples=50)
@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-2, 2, width=32)))
def test_16_bit_rounding_equals_that_of_audio(x):
    with tempfile.TemporaryDirectory() as folder:
        audio.write_wav(Path(folder, "b.wav"), x)
        theirs, _ = soundfile.read(Path(folder, "b.wav"), dtype="int16")
        for name in ("a.wav", "a.flac"):
            encoders.write(Path(folder, name), [x], {})
            np.testing.assert_array_equal(soundfile.read(Path(folder, name), dtype="int16")[0], theirs)


def test_ties_go_to_the_even_level_and_full_scale_is_clipped():
    steps = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 32767.5, 32768, -32768.5, -40000], np.float32)
    levels = encoders.pcm_16(steps / 32768)
    assert levels.tolist() == [0, 2, 2, 0, -2, 32767, 32767, -32768, -32768]


@every_format
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 50_000), max_size=8))
def test_the_bytes_do_not_depend_on_the_blocks(name, float32, cuts):
    x = noise(50_000)
    whole, samples = written(name, [x], float32=float32)
    assert written(name, np.split(x, sorted(cuts)), float32=float32)[0] == whole
    assert len(samples) == 50_000


def test_the_bytes_do_not_depend_on_the_time_or_the_process(tmp_path):
    """Two processes, a second apart."""
    program = (
        "import sys, numpy as np; from samplernn_theano.generation import encoders\n"
        "for name in ('a.wav', 'a.flac', 'a.ogg', 'float.wav'):\n"
        "    x = np.linspace(-1, 1, 40000, dtype='f')\n"
        "    encoders.write(sys.argv[1] + name, [x], {'title': 'a'}, name == 'float.wav')"
    )
    for folder in ("1/", "2/"):
        subprocess.run([sys.executable, "-c", program, f"{tmp_path}/{folder}"], check=True)
        time.sleep(1 - time.time() % 1)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name


def test_ogg_is_close_to_the_sound_and_has_all_pages(tmp_path):
    """Two minutes; a page with a wrong checksum would be dropped."""
    t = np.arange(2 * 60 * 16000) / 16000
    x = (0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)
    encoders.write(tmp_path / "a.ogg", [x], {})
    back = audio.read_mono(tmp_path / "a.ogg")  # also checks that the last page is complete
    assert len(back) == len(x) and np.abs(back - x).max() < 0.03
    pages = (tmp_path / "a.ogg").read_bytes().split(b"OggS\0")[1:]
    assert len(pages) > 30 and all(page[9:13] == bytes(4) for page in pages)


def test_the_checksum_of_an_ogg_page():
    """Equals that of libogg, in a file written by libsndfile alone."""
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(Path(folder, "a.ogg"), noise(30_000), 16000)
        data = Path(folder, "a.ogg").read_bytes()
    pages = [b"OggS\0" + page for page in data.split(b"OggS\0")[1:]]
    for page in pages:
        crc = int.from_bytes(page[22:26], "little")
        assert encoders._ogg_crc(page[:22] + bytes(4) + page[26:]) == crc


# --- metadata -----------------------------------------------------------------------------------------------
version = f"libsndfile-{soundfile.__libsndfile_version__}"  # what it adds to the tag "software"
TEXTS = {tag: f"{tag}: Bücher & “3 < 4”" for tag in encoders.TAGS}


@every_format
def test_metadata_can_be_read_afterwards(tmp_path, name, float32):
    encoders.write(tmp_path / name, [noise(1000)], TEXTS, float32)
    with soundfile.SoundFile(tmp_path / name) as file:
        read = {tag: getattr(file, tag) for tag in TEXTS}
    assert read == TEXTS | {"software": f"{TEXTS['software']} ({version})"}


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@every_format
def test_ffprobe_reads_the_metadata(tmp_path, name, float32):
    encoders.write(tmp_path / name, [noise(1000)], TEXTS, float32)
    command = ["ffprobe", "-v", "error", "-show_entries", "format_tags:stream_tags", "-of", "flat"]
    done = subprocess.run([*command, tmp_path / name], capture_output=True, text=True, check=True)
    for text in TEXTS.values():
        assert text in done.stdout
    assert done.stderr == ""


@every_format
@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(encoders.TAGS), st.text(min_size=1, max_size=9), min_size=1))
def test_metadata_may_be_any_text(name, float32, texts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        encoders.write(path, [noise(10)], texts, float32)
        with soundfile.SoundFile(path) as file:
            assert file.frames == 10
            for tag, text in texts.items():
                assert getattr(file, tag).removesuffix(f" ({version})") == escape_control_characters(text)


@every_format
def test_long_texts_are_truncated_and_do_not_hide_others(name, float32):
    """In a wav, libsndfile reads no tag after a text of 2,047 bytes or more."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        encoders.write(path, [noise(1000)], dict.fromkeys(encoders.TAGS, "aü" * 2000), float32)
        with soundfile.SoundFile(path) as file:
            assert file.frames == 1000
            for tag in encoders.TAGS:
                text = getattr(file, tag).removesuffix(f" ({version})")
                assert ("aü" * 2000).startswith(text)
                assert len(text.encode()) in ((99, 100) if tag == "software" else (1999, 2000))


def test_metadata_is_one_line(tmp_path):
    texts = {"title": "a\nb\0c", "comment": "name \udcfc", "artist": ""}
    encoders.write(tmp_path / "a.flac", [noise(10)], texts)
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert (file.title, file.comment, file.artist) == ("a\\nb\\x00c", "name \\udcfc", "")


def test_unknown_tags_are_rejected():
    with pytest.raises(ValueError, match="no such metadata: license, mood; there are title"):
        encoders.write("a.wav", [noise(10)], {"title": "a", "license": "b", "mood": "c"})


# --- rejected sounds and files ------------------------------------------------------------------------------
def test_the_size_of_a_wav_is_checked_in_advance():
    with pytest.raises(OutputError, match=r"a\.wav .* 4 GiB, 37\.3 h of this sound; choose flac"):
        encoders.check_size(Path("a.wav"), 2**31, float32=False)
    with pytest.raises(OutputError, match=r"4 GiB, 18\.6 h"):
        encoders.check_size(Path("a.wav"), 2**30, float32=True)
    encoders.check_size(Path("a.wav"), 2**30, float32=False)
    encoders.check_size(Path("a.flac"), 2**31, float32=False)


def test_a_wav_beyond_4_gib_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "MAX_WAV", 2 * 40_000)
    encoders.write(tmp_path / "a.wav", [noise(40_000)], {})
    with pytest.raises(OutputError, match="choose flac"):
        encoders.write(tmp_path / "b.wav", [noise(40_001)], {})
    encoders.write(tmp_path / "b.flac", [noise(40_001)], {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.flac"]


@every_format
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_rejected_and_an_existing_file_is_kept(tmp_path, name, float32, bad):
    (tmp_path / name).write_bytes(b"before")
    with pytest.raises(OutputError, match=f"{name} was not written: the sound holds NaN"):
        encoders.write(tmp_path / name, [noise(20_000), np.array([0, bad])], {}, float32)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


@every_format
@pytest.mark.parametrize("blocks", [[], [np.zeros(0)]])
def test_an_empty_sound_is_rejected(tmp_path, name, float32, blocks):
    with pytest.raises(OutputError, match="the sound is empty"):
        encoders.write(tmp_path / name, blocks, {}, float32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.mp3", "a", "a.wav.txt"])
def test_other_formats_are_rejected(tmp_path, name):
    with pytest.raises(OutputError, match=r"must end in \.wav, \.flac or \.ogg"):
        encoders.write(tmp_path / name, [noise(10)], {})


def test_floats_in_flac_are_rejected(tmp_path):
    with pytest.raises(OutputError, match=r"need a name that ends in \.wav"):
        encoders.write(tmp_path / "a.flac", [noise(10)], {}, float32=True)


def test_the_suffix_may_be_in_capitals(tmp_path):
    encoders.write(tmp_path / "A.FLAC", [noise(10)], {})
    assert soundfile.info(tmp_path / "A.FLAC").format == "FLAC"


@every_format
def test_the_path_need_not_be_utf_8(tmp_path, name, float32):
    path = tmp_path / (os.fsdecode(b"\xfc") + name)
    encoders.write(path, [noise(10)], {}, float32)
    assert soundfile.info(os.fsencode(path)).frames == 10


@every_format
def test_a_folder_that_cannot_be_created(tmp_path, name, float32):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=f"Could not write .*{name}: "):
        encoders.write(tmp_path / "file" / name, [noise(10)], {}, float32)


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


def test_blocks_are_released(tmp_path):
    """Memory does not depend on the length: at most two of 100 blocks exist at once."""

    class Block(np.ndarray):  # a plain array has no weak references
        pass

    made: list[weakref.ref] = []

    def blocks() -> Iterator[np.ndarray]:
        for _ in range(100):
            block = noise(4000).view(Block)
            made.append(weakref.ref(block))
            yield block
            del block
            assert sum(reference() is not None for reference in made) <= 2

    encoders.write(tmp_path / "a.flac", blocks(), {})
    assert soundfile.info(tmp_path / "a.flac").frames == 400_000
