"""Reading and writing sound files."""

import fnmatch
import io
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import resample_poly

from samplernn_theano.data import audio, decoders
from samplernn_theano.errors import DataError, OutputError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


# ---- Every format that libsndfile writes

STEPS = {  # between two neighbouring values; float32 has 24 bits
    **dict.fromkeys(["PCM_S8", "PCM_U8", "DPCM_8"], 2**-7),
    **dict.fromkeys(["PCM_16", "ALAC_16", "DWVW_16", "DPCM_16"], 2**-15),
    **dict.fromkeys(["PCM_24", "PCM_32", "ALAC_24", "ALAC_32", "DWVW_24", "FLOAT", "DOUBLE"], 2**-23),
    "ALAC_20": 2**-19,
}
LOSSY = 0.06
"""Tolerance of samples in any other format; the peak of the tone is 0.5."""


def kept_formats() -> list[tuple[str, str]]:
    """The formats and subtypes that hold a mono sound of 16 kHz and give it back.

    Left out are those without a header, of more than one file, or of other rates only, and those that
    libsndfile writes but does not read.
    """
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        for form in soundfile.available_formats():
            for subtype in soundfile.available_subtypes(form):
                try:
                    soundfile.write(path, tone(0.01, 16000), 16000, format=form, subtype=subtype)
                    info = soundfile.info(io.BytesIO(path.read_bytes()))
                except (soundfile.LibsndfileError, ValueError, TypeError):
                    continue
                if (info.samplerate, info.channels) == (16000, 1) and info.frames:
                    kept.append((form, subtype))
    return kept


FORMATS = kept_formats()


def test_the_usual_formats_are_among_those_tried():
    usual = "WAV PCM_16, WAV PCM_U8, WAV PCM_24, WAV FLOAT, WAV DOUBLE, WAV ULAW, WAV ALAW, WAV IMA_ADPCM"
    usual += ", WAV MS_ADPCM, FLAC PCM_16, FLAC PCM_24, OGG VORBIS, OGG OPUS, MP3 MPEG_LAYER_III, AIFF PCM_16"
    assert set(usual.split(", ")) <= {f"{form} {subtype}" for form, subtype in FORMATS}


@pytest.mark.parametrize("form, subtype", FORMATS)
def test_reads_what_a_file_of_16_khz_holds(tmp_path, form, subtype):
    sound = tone(1.02, 16000)  # whole blocks of SDS: libsndfile does not write an unfinished one
    soundfile.write(tmp_path / "a", sound, 16000, format=form, subtype=subtype)
    samples = audio.read_mono(tmp_path / "a")
    assert samples.dtype == np.float32
    if subtype in STEPS:
        assert samples.shape == sound.shape
        np.testing.assert_allclose(samples, sound, atol=STEPS[subtype])
    else:
        assert 0 <= len(samples) - len(sound) < 1100  # some fill a block up
        middle = slice(1600, 14400)  # they disturb the ends
        np.testing.assert_allclose(samples[middle], sound[middle], atol=LOSSY)


def test_the_suffixes_are_lower_case_and_of_one_kind_each():
    every = decoders.SUFFIXES + decoders.FFMPEG_SUFFIXES
    assert len(set(every)) == len(every)
    assert all(suffix == f".{suffix[1:].lower()}" for suffix in every)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_converts_the_rate_and_keeps_pitch_level_and_length(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(1, rate), rate, subtype="FLOAT")
    samples = audio.read_mono(tmp_path / "a.wav")
    assert len(samples) == 16000
    middle = slice(1600, -1600)
    np.testing.assert_allclose(samples[middle], tone(1, 16000)[middle], atol=2e-3)


@pytest.mark.parametrize("file_rate, rate", [(44100, 16000), (8000, 16000), (16001, 16000), (16000, 44100)])
@pytest.mark.parametrize("block", [1000, 7001, 10**6])
def test_converting_the_rate_in_blocks_makes_no_difference(file_rate, rate, block):
    sound = np.random.default_rng(0).standard_normal(50_003).astype(np.float32)
    blocks = (sound[i : i + block] for i in range(0, len(sound), block))
    converted = np.concatenate(list(audio.resample(blocks, file_rate, rate)))
    divisor = np.gcd(file_rate, rate)
    np.testing.assert_array_equal(converted, resample_poly(sound, rate // divisor, file_rate // divisor))


def test_averages_the_channels(tmp_path):
    left, right = tone(0.1, 16000), tone(0.1, 16000, hertz=1000, level=0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    sound = audio.read(tmp_path / "a.wav")
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=1e-6)
    assert (sound.file_rate, sound.channels, sound.clipped) == (16000, 2, 0)


@pytest.mark.parametrize("name", ["Käse & Øl.wav", "two  blanks .wav", "-i.wav", "100%d:x.wav", "音.WAV"])
def test_reads_files_of_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    soundfile.write(tmp_path / name, tone(0.1, 16000), 16000, format="WAV")
    assert len(audio.read_mono(name)) == 1600


def test_clips_and_counts_what_is_beyond_full_scale(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 1.0, -1.0, -1.5, 3.0]), 16000, subtype="FLOAT")
    sound = audio.read(tmp_path / "a.wav")
    below_one = np.nextafter(np.float32(1), np.float32(0))
    np.testing.assert_array_equal(sound.samples, np.float32([0.5, below_one, -1, -1, below_one]))
    assert sound.clipped == 3


def floats(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=1).astype(np.float32)


voice = tone(0.5, 16000, level=0.4)
other = tone(0.5, 16000, hertz=1234, level=0.4)
hum = 0.3 * np.sin(2 * np.pi * 50 * np.arange(len(voice)) / 16000)


def partly_opposite(part: float) -> np.ndarray:
    """Two channels that are opposite in the last part of 8 s."""
    long = tone(8, 16000, level=0.4)
    return floats(long, np.where(np.arange(len(long)) < (1 - part) * len(long), long, -long))


hiss = 0.004 * np.random.default_rng(0).standard_normal(len(voice))


@pytest.mark.filterwarnings("error")  # no warnings of NumPy
@pytest.mark.parametrize(
    "sound, subtype, doubt",
    [
        (
            voice * 32768,
            "FLOAT",
            "clipping: 99.?? % of its samples * at 13,1?? times *; divide them by 32,768.",
        ),
        (floats(voice, other) * 2**23, "DOUBLE", "clipping: * divide them by 8,388,608."),
        (voice * 2**31, "DOUBLE", "clipping: * divide them by 2,147,483,648."),
        (voice * 100, "FLOAT", "clipping: * its values are from -40 to 40, * -1 to 1; convert them."),
        (voice * 300 + 128, "FLOAT", "clipping: * are from 8 to 248, *"),
        (voice * 80_000 + 32768, "FLOAT", "clipping: * are from 768 to 6.477e+04, *"),
        (voice * 1e30, "FLOAT", "clipping: * are from -4e+29 to 4e+29, *"),
        (
            voice * 10,
            "FLOAT",
            "clipping: * it is 12.0 dB too loud; lower its level by so much.",
        ),
        (np.clip(voice * 10, -1, 1), "PCM_16", "clipping: * too loud; get it at a lower level."),
        (np.clip(voice * 10, -1, 1), "PCM_U8", "clipping: * too loud; get it at a lower level."),
        (hiss * 80, "FLOAT", ""),  # 0.2 % beyond full scale
        (tone(0.5, 16000, hertz=220, level=1), "ALAW", ""),  # their highest step is 3 % wide
        (tone(0.5, 16000, hertz=220, level=1), "ULAW", ""),
        (floats(np.clip(voice * 10, -1, 1), voice), "PCM_16", "clipping: *"),
        (floats(voice, -voice), "FLOAT", "channels: its 2 channels cancel * 100 dB below *pan=mono*"),
        (floats(voice + 0.3, 0.3 - voice), "PCM_16", "channels: * in 100 % of the time: *"),
        (floats(voice / 4 + hum, hum - voice / 4), "PCM_16", "channels: * in 100 % of the time: *"),
        (partly_opposite(0.5), "PCM_16", "channels: * in 50 % of the time: *"),
        (partly_opposite(0.875), "PCM_16", "channels: * in 88 % of the time: *"),
        (partly_opposite(0.125), "PCM_16", "channels: * in 12 % of the time: *"),
        (floats(voice, -voice + 2 * hiss), "PCM_16", "channels: * 38 dB below *"),
        (floats(voice, -voice, *[hiss] * 4), "PCM_24", "channels: its 6 channels cancel *"),
        (floats(voice, other), "PCM_16", ""),
        (floats(voice, 0 * voice), "PCM_16", ""),
        (floats(*[0 * voice] * 5, voice), "PCM_16", ""),
        (floats(*[0 * voice] * 15, voice), "PCM_16", ""),
        (floats(voice, voice), "PCM_16", ""),
        (voice / 65536, "PCM_32", "level: it is nearly silent, at -104 dBFS, * volume=104dB *"),
        (voice / 256, "PCM_32", "level: it is nearly silent, at -56 dBFS, *"),
        (0 * voice, "PCM_16", "level: it is silent; *"),
        (voice / 32, "PCM_16", ""),
        (voice / 4096 + 0.05, "PCM_24", "level: * -80 dBFS around +0.050, *highpass=f=20,volume=80dB *"),
        (np.where(np.arange(len(voice)) == 99, 0.5, voice / 4096), "PCM_24", "level: * at -80 dBFS, *"),
        (np.full(len(voice), 0.05), "PCM_16", "level: it is silent*"),
        (voice * (np.arange(len(voice)) % 4000 < 100), "PCM_16", ""),
    ],
)
def test_says_what_is_doubtful_about_a_sound(tmp_path, capsys, sound, subtype, doubt):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, 16000, subtype=subtype)
    read = audio.read(path)
    found = [f"{kind}: {text}" for kind, text in read.doubts.items()]
    assert len(found) == (doubt != "") and all(fnmatch.fnmatchcase(text, doubt) for text in found), found
    told = "".join(f"{path}: {text}\n" for text in read.doubts.values())
    assert capsys.readouterr().err == told


def test_sound_that_was_cut_off_before_its_rate_is_converted(tmp_path, capsys):
    soundfile.write(tmp_path / "a.flac", np.clip(tone(0.5, 44100, level=4), -1, 1), 44100)
    assert audio.read(tmp_path / "a.flac").clipped  # by the filter
    assert "clipped: it was recorded or exported too loud" in capsys.readouterr().err


def test_a_long_mp3_comes_whole(tmp_path):
    """Longer than a block of decoding: decoded in one piece it gives the same samples."""
    random = np.random.default_rng(0)
    sound = tone(20, 44100) * 0.4 + 0.1 * random.standard_normal(20 * 44100) * (tone(20, 44100, 0.5) > 0)
    soundfile.write(tmp_path / "a.mp3", sound, 44100, bitrate_mode="VARIABLE")
    assert len(sound) > 3 * decoders.BLOCK
    at_once, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    np.testing.assert_array_equal(audio.read_mono(tmp_path / "a.mp3", rate=44100), at_once)


def wav(data_size: int, riff_size: int) -> bytes:
    """16,000 samples of silence under a header that states such sizes (bytes)."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", riff_size, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16
    )
    return header + struct.pack("<4sI", b"data", data_size) + bytes(32000)


# ---- Files that cannot be read

UNREADABLE = {
    "missing": lambda path: None,
    "no bytes": lambda path: path.write_bytes(b""),
    "no sound file": lambda path: path.write_bytes(b"This is a letter, not a recording. " * 50),
    "no samples": lambda path: soundfile.write(path, np.zeros(0), 16000, format="WAV"),
    "half a header": lambda path: path.write_bytes(wav(32000, 32036)[:20]),
    "NaN": lambda path: soundfile.write(path, np.array([0, np.nan]), 16000, "FLOAT", format="WAV"),
    "infinite": lambda path: soundfile.write(path, np.array([0, np.inf]), 44100, "FLOAT", format="WAV"),
    "rate of 10 Hz": lambda path: soundfile.write(path, tone(1, 10), 10, format="WAV"),
    "rate of 2 GHz": lambda path: soundfile.write(path, tone(1, 100), 2_000_000_011, format="WAV"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("gone.wav"),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_names_the_file_that_cannot_be_read(tmp_path, make):
    path = tmp_path / "broken.wav"
    make(path)
    with pytest.raises(DataError, match=r"broken\.wav") as caught:
        audio.read_mono(path)
    assert "\n" not in str(caught.value)


def test_names_the_file_that_may_not_be_read():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "secret.wav")
        audio.write_wav(path, np.zeros(10))
        path.chmod(0)
        user = os.geteuid()
        if user == 0:  # who may read everything
            os.seteuid(65534)
        try:
            with pytest.raises(DataError, match=r"secret\.wav cannot be opened \(Permission denied\)"):
                audio.read(path)
        finally:
            os.seteuid(user)


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


# ---- ffmpeg


def test_reports_how_to_install_ffmpeg_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a.G722").write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"a\.G722 is a \.g722 file, which needs ffmpeg; install it .*apt"):
        audio.read(tmp_path / "a.G722")


def test_reads_other_formats_without_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    soundfile.write(tmp_path / "a.ogg", tone(1, 16000), 16000)
    assert len(audio.read_mono(tmp_path / "a.ogg")) == 16000


def ffmpeg(*options: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *options], check=True)


@needs_ffmpeg
@pytest.mark.parametrize(
    "name, file_rate, channels",
    [("a.g722", 16000, 1), ("-i 100%d:x.m4a", 44100, 2), ("ü.wma", 44100, 2), ("a.WV", 48000, 6)],
)
def test_reads_through_ffmpeg(tmp_path, monkeypatch, name, file_rate, channels):
    monkeypatch.chdir(tmp_path)
    levels = np.linspace(0.2, 0.6, channels + 2)[1:-1]  # of 0.4 on average
    sound = tone(2, file_rate, level=1.0)[:, None] * levels
    soundfile.write("a.wav", sound, file_rate)
    ffmpeg("-i", "a.wav", f"file:{name}")
    read = audio.read(name)
    assert (read.file_rate, read.channels, read.clipped) == (file_rate, channels, 0)
    assert abs(len(read.samples) - 32000) < 1000
    # Their first samples may come late, so sound and original are laid side by side at the best place.
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    errors = [np.abs(read.samples[8000 + i : 24000 + i] - expected).max() for i in range(400)]
    assert min(errors) < 0.03


@needs_ffmpeg
def test_takes_the_sound_out_of_a_film(tmp_path):
    audio.write_wav(tmp_path / "a.wav", tone(1, 16000))
    picture = ["-f", "lavfi", "-i", "color=size=64x64:rate=5:duration=3"]
    ffmpeg(*picture, "-i", str(tmp_path / "a.wav"), "-c:v", "mpeg4", str(tmp_path / "a.mp4"))
    assert abs(len(audio.read_mono(tmp_path / "a.mp4")) - 16000) < 1200
    ffmpeg(*picture, "-c:v", "mpeg4", str(tmp_path / "silent.mp4"))
    with pytest.raises(DataError, match=r"silent\.mp4 cannot be decoded \(it holds no sound\)"):
        audio.read(tmp_path / "silent.mp4")


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "mka"])
def test_says_that_a_second_track_is_not_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    audio.write_wav(tmp_path / "a.wav", tone(1, 16000))
    audio.write_wav(tmp_path / "b.wav", tone(2, 16000))
    ffmpeg("-i", str(tmp_path / "a.wav"), "-i", str(tmp_path / "b.wav"), "-map", "0", "-map", "1", str(path))
    read = audio.read(path)
    assert abs(len(read.samples) - 16000) < 1200
    assert "2 tracks of sound, of which the first is read" in read.doubts["tracks"]


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile b.wav\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nb.wav\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "picture": "P1\n1 1\n0\n",
}


@needs_ffmpeg
@pytest.mark.parametrize("text", PLAYLISTS.values(), ids=PLAYLISTS.keys())
@pytest.mark.parametrize("name", ["a.m4a", "a.wav", "a%d.mp4"])
def test_a_list_of_other_files_is_not_followed(tmp_path, name, text):
    os.mkfifo(tmp_path / "b.wav")  # whoever opens it waits
    (tmp_path / name).write_text(text)
    with pytest.raises(
        DataError, match=r"cannot be decoded \((it is of a format that holds no sound itself|F)"
    ):
        audio.read(tmp_path / name)


@needs_ffmpeg
def test_names_the_file_that_ffmpeg_cannot_read(tmp_path):
    (tmp_path / "a.m4a").write_bytes(b"This is a letter, not a recording. " * 50)
    with pytest.raises(DataError, match=r"^\S+a\.m4a cannot be decoded \([^/]+\); ") as caught:
        audio.read(tmp_path / "a.m4a")
    assert "\n" not in str(caught.value)
