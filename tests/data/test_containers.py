"""Sound that would be lost between a file and its clips."""

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.data import audio, containers, decoders, ogg
from samplernn_theano.errors import DataError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

RATE = 16000


def noise(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def written(path: Path, seconds: float, form: str, subtype: str | None = None, seed: int = 0) -> bytes:
    soundfile.write(path, noise(seconds, seed=seed), RATE, format=form, subtype=subtype)
    return path.read_bytes()


def by_ffmpeg(path: Path, seconds: float, *options: str) -> bytes:
    """A sound encoded by ffmpeg; for formats that libsndfile does not write."""
    audio.write_wav(path.parent / "source.wav", noise(seconds))
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", path.parent / "source.wav", *options]
    subprocess.run([*command, f"file:{path}"], check=True)
    return path.read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        audio.read(path)
    return str(caught.value).removeprefix(str(path))


# --- files that end early -----------------------------------------------------------------------------------

WITH_LENGTH = [
    *[("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24")],
    *[("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "ULAW"), ("AU", "PCM_16")],
    *[("SVX", "PCM_16"), ("NIST", "PCM_16"), ("NIST", "ULAW"), ("MP3", "MPEG_LAYER_III")],
    *[("FLAC", "PCM_16")],
]


@pytest.mark.parametrize("form, subtype", WITH_LENGTH)
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\x02\0" + bytes(256)])
def test_a_file_shorter_than_its_header_states(tmp_path, form, subtype, tag):
    if tag and form != "MP3":
        return
    data = tag + written(tmp_path / "a.wav", 4, form, subtype)
    (tmp_path / "a.wav").write_bytes(data[: round(0.75 * len(data))])
    told = refusal(tmp_path / "a.wav")
    assert told.startswith(" ends early: ") and told.endswith("(ffmpeg -i FILE NEW).")
    there, stated = map(float, re.findall(r"([\d.]+) s", told))
    assert there == pytest.approx(3, abs=0.3 if form != "FLAC" else 1.1) and stated == pytest.approx(
        4, abs=0.15
    )


@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
def test_an_ogg_that_breaks_off(tmp_path, part):
    data = written(tmp_path / "a.ogg", 4, "OGG")
    (tmp_path / "a.ogg").write_bytes(data[: round(part * len(data))])
    assert " breaks off in its last page: " in refusal(tmp_path / "a.ogg")


def test_a_caf_that_breaks_off(tmp_path):
    data = written(tmp_path / "a.caf", 4, "CAF")
    (tmp_path / "a.caf").write_bytes(data[:-4000])
    assert refusal(tmp_path / "a.caf").startswith(" ends early: 3.87 s of 4.00 s are there")


@needs_ffmpeg
@pytest.mark.parametrize("suffix, shown", [("m4a", True), ("wma", True), ("tta", True), ("wv", False)])
def test_what_ffmpeg_decodes_and_ends_early(tmp_path, suffix, shown):
    path = tmp_path / f"a.{suffix}"
    data = by_ffmpeg(path, 4, *(["-movflags", "faststart"] if suffix == "m4a" else []))
    path.write_bytes(data[: round(0.6 * len(data))])
    told = refusal(path)
    assert (" ends early: " if shown else " cannot be decoded (") in told
    assert "\n" not in told and " @ 0x" not in told and not (shown and " of 4.0" not in told)


# --- more than the header says ------------------------------------------------------------------------------

JOINED = {
    **{form: (form, None) for form in ("WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "NIST", "SVX")},
    "VORBIS": ("OGG", "VORBIS"),
    "OPUS": ("OGG", "OPUS"),
    "MP3": ("MP3", None),
}


@pytest.mark.parametrize("between", [b"", b"TAG" + bytes(125), bytes(5000)], ids=["", "ID3v1", "zeros"])
@pytest.mark.parametrize("name", JOINED)
def test_files_that_are_joined(tmp_path, name, between):
    if between and name not in ("MP3", "FLAC"):
        return
    path = tmp_path / "a"
    data = written(path, 3, *JOINED[name]) + between + written(path, 2, *JOINED[name], seed=1)
    path.write_bytes(data)
    told = refusal(path)
    assert " holds " in told and "second file" in told or "another stream" in told or "libsndfile" in told
    held, decoded = map(float, re.findall(r"([\d.]+) s", told))
    assert held == pytest.approx(5, abs=0.4) and decoded == pytest.approx(3, abs=0.1)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "wma", "tta", "webm", "mka", "wv"])
def test_files_for_ffmpeg_that_are_joined(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(by_ffmpeg(path, 3) + by_ffmpeg(path, 2))
    assert "second file" in refusal(path) or suffix == "wv"


@needs_ffmpeg
@pytest.mark.parametrize("brand", ["M4V ", "MSNV", "avc1", "f4v "])
def test_films_that_are_joined(tmp_path, brand):
    path = tmp_path / "a.mp4"
    data = by_ffmpeg(path, 2, "-brand", brand)
    path.write_bytes(data + data)
    assert " holds about 4.0" in refusal(path)


@needs_ffmpeg
def test_an_ogg_of_two_streams_that_ffmpeg_decodes_one_after_another_is_read(tmp_path):
    path = tmp_path / "a.spx"
    path.write_bytes(by_ffmpeg(path, 3) + by_ffmpeg(path, 2))
    assert abs(len(audio.read_mono(path)) - 5 * RATE) < 1600


@pytest.mark.parametrize("behind", ["WAV", "AIFF", "AU", "FLAC", "OGG", "MP3", "CAF"])
@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC", "OGG", "MP3"])
def test_a_second_file_of_another_format(tmp_path, form, behind):
    path = tmp_path / "a"
    first, second = written(path, 1, form), written(path, 1, behind, seed=1)
    path.write_bytes(first + second)
    if form != behind:
        assert f"a second file begins at byte {len(first):,}" in refusal(path)


@needs_ffmpeg
def test_a_second_file_behind_an_m4a(tmp_path):
    data = by_ffmpeg(tmp_path / "a.m4a", 1) + written(tmp_path / "b", 1, "MP3")
    (tmp_path / "a.m4a").write_bytes(data)
    assert "a second file begins" in refusal(tmp_path / "a.m4a")


@pytest.mark.parametrize("size", [8000, 32000])
def test_the_second_of_two_chunks_of_sound(tmp_path, size):
    """libsndfile reads the first one, ffmpeg the last one."""
    chunk = struct.pack("<4sI", b"data", size) + bytes(size)
    (tmp_path / "a.wav").write_bytes(wav(32000, 32044 + size, behind=chunk))
    assert " has several parts of sound, of which one is read: " in (told := refusal(tmp_path / "a.wav"))
    assert size == 8000 or " 1.00 s of 2.00 s can be decoded" in told


@pytest.mark.parametrize("harm", ["joined", "understated"])
def test_an_au_of_the_other_byte_order(tmp_path, harm):
    path = tmp_path / "a.au"
    soundfile.write(path, noise(4), RATE, format="AU", endian="LITTLE")
    data = path.read_bytes()
    path.write_bytes(data * 2 if harm == "joined" else data[:8] + struct.pack("<I", 32000) + data[12:])
    assert ("8.00 s" if harm == "joined" else "holds 4.00 s of sound, of which 1.00 s") in refusal(path)


@pytest.mark.parametrize("form, subtype", [*WITH_LENGTH[:2], ("AIFF", None), ("FLAC", None), ("OGG", None)])
@pytest.mark.parametrize("harm", ["half", "joined", "understated"])
def test_a_tag_in_front_hides_nothing(tmp_path, form, subtype, harm):
    path = tmp_path / "a"
    data = written(path, 4, form, subtype)
    if harm == "understated" and form in ("WAV", "FLAC"):
        at, size = (40, 4) if form == "WAV" else (22, 4)
        data = data[:at] + RATE.to_bytes(size, "little" if form == "WAV" else "big") + data[at + size :]
    elif harm != "understated":
        data = data[: len(data) // 2] if harm == "half" else data + data
    path.write_bytes(ID3 + data)
    if harm == "understated" and form not in ("WAV", "FLAC"):
        assert len(audio.read_mono(path)) == 4 * RATE
    elif (form, harm) == ("OGG", "joined") and shutil.which("ffmpeg"):
        assert len(audio.read_mono(path)) == pytest.approx(8 * RATE, abs=1600)
    else:
        refusal(path)


def wav(data_size: int, riff_size: int, chunk: bytes = b"", behind: bytes = b"") -> bytes:
    """16,000 samples under a header that states such sizes (bytes), with chunks before and behind them."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", riff_size, b"WAVE", b"fmt ", 16, 1, 1, RATE, 32000, 2, 16
    )
    samples = (noise(1) * 32768).astype("<i2").tobytes()
    return header + chunk + struct.pack("<4sI", b"data", data_size) + samples + behind


@pytest.mark.parametrize("form", ["WAV", "AU", "AIFF", "FLAC", "W64"])
def test_a_header_that_states_too_little(tmp_path, form):
    path = tmp_path / "a"
    data = bytearray(written(path, 4, form))
    if form == "FLAC":
        data[21:26] = bytes([data[21] & 0xF0]) + (RATE).to_bytes(4, "big")
    else:
        magic, layout, extra = {
            "WAV": (b"data", "<I", 0),
            "AU": (b".snd", ">4xI", 0),
            "AIFF": (b"SSND", ">I", 8),
            "W64": (b"data", "<12xQ", 24),
        }[form]
        at = data.find(magic) + 4 + layout.count("x") * int("".join(filter(str.isdigit, layout)) or 0)
        struct.pack_into(layout.replace("12x", "").replace("4x", ""), data, at, 32000 + extra)
    path.write_bytes(data)
    told = refusal(path)
    assert "1.00 s" in told and ("4.00 s" in told or "3.99 s" in told), told


@pytest.mark.parametrize("size", [0, 36, 4088])
def test_a_wav_of_a_recorder_that_crashed_is_to_be_mended_not_removed(tmp_path, size):
    fill = struct.pack("<4sI", b"FLLR", 3000) + bytes(3000) if size == 4088 else b""
    (tmp_path / "a.wav").write_bytes(wav(0, size, fill))
    told = refusal(tmp_path / "a.wav")
    assert (
        " holds 1.00 s of sound, of which 0.00 s" in told
        and "ffmpeg -ignore_length 1 -i FILE -c copy NEW.wav mends it" in told
    )


@pytest.mark.parametrize("size", [2**32 - 1, 2**32 - 36, 2**31, 2**31 - 1, 0x7FFFF000])
def test_a_wav_that_was_written_into_a_pipe_is_read(tmp_path, size):
    """The header was written before the length was known."""
    (tmp_path / "a.wav").write_bytes(wav(size, 2**32 - 1))
    assert len(audio.read_mono(tmp_path / "a.wav")) == 16000


LIST = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"
FINE = {
    "not closed": wav(0, 8),
    "the header counted in": wav(32044, 32044),
    "a chunk before": wav(32000, 32050, b"note" + struct.pack("<I", 5) + b"hello\0"),
    "a chunk behind": wav(32000, 32050, behind=LIST * 300),
    "zeros behind": wav(32000, 32036, behind=bytes(9000)),
    "a chunk that is cut off": wav(32000, 62050, behind=b"LIST" + struct.pack("<I", 30000) + b"\xe4" * 29980),
    "a name with zeros": wav(32000, 62050, behind=b"af\0\0" + struct.pack("<I", 30000) + b"\xe4y" * 15000),
}


APE = b"APETAGEX" + struct.pack("<III8x", 2000, 9000, 1) + bytes(range(1, 251)) * 36
ID3 = b"ID3\4\0\0\0\0\x02\0" + b"x" * 256
TAGS = {"a zero": b"\0", "zeros": bytes(9000), "ID3v1": b"TAG" + b"x" * 125, "APE": APE, "ID3v2": ID3}
TAGS |= {
    "APE without a header": bytes(range(1, 251)) * 36 + struct.pack("<8s4I8x", b"APETAGEX", 2000, 9032, 1, 0),
    "html": b"<html>\r\n" * 2000,
    "erased": b"\xff" * 9000,
}


@pytest.mark.parametrize("form", ["WAV", "AU", "AIFF", "FLAC", "MP3"])
@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS.keys())
def test_tags_behind_the_sound_are_no_sound(tmp_path, form, tag):
    path = tmp_path / "a"
    (tmp_path / "a").write_bytes(written(path, 2, form) + tag)
    assert abs(len(audio.read_mono(path)) - 32000) < 1600


@needs_ffmpeg
def test_a_recorded_broadcast_whose_header_states_no_length(tmp_path):
    data = bytearray(by_ffmpeg(tmp_path / "a.wma", 2))
    at = data.index(containers._WMA_PROPERTIES)
    data[at + 64 : at + 72] = bytes(8)
    data[at + 88] |= 1
    (tmp_path / "a.wma").write_bytes(data)
    assert abs(len(audio.read_mono(tmp_path / "a.wma")) - 32000) < 1600


@needs_ffmpeg
def test_a_wavpack_that_was_written_into_a_pipe_is_read(tmp_path):
    by_ffmpeg(tmp_path / "b.wv", 2)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "b.wv", "-c", "copy", "-f", "wv", "-"]
    (tmp_path / "a.wv").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    assert len(audio.read_mono(tmp_path / "a.wv")) == 32000


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["wv", "ac3", "g722"])
def test_a_tag_behind_what_ffmpeg_decodes_is_no_sound(tmp_path, suffix):
    data = by_ffmpeg(tmp_path / f"a.{suffix}", 2)
    length = len(audio.read_mono(tmp_path / f"a.{suffix}"))
    (tmp_path / f"a.{suffix}").write_bytes(data + TAGS["ID3v1"])
    assert len(audio.read_mono(tmp_path / f"a.{suffix}")) == length


@needs_ffmpeg
def test_a_caf_of_opus_with_a_hole(tmp_path):
    data = by_ffmpeg(tmp_path / "a.caf", 6, "-c:a", "libopus")
    assert abs(len(audio.read_mono(tmp_path / "a.caf")) - 6 * RATE) < 1600
    (tmp_path / "a.caf").write_bytes(data[:20000] + bytes(10000) + data[30000:])
    assert re.search(r" ends early: 5\.\d\d s of 6\.", refusal(tmp_path / "a.caf"))


@needs_ffmpeg
def test_an_mp3_with_another_name_that_ends_early(tmp_path):
    data = written(tmp_path / "a.aac", 4, "MP3")
    (tmp_path / "a.aac").write_bytes(data[: len(data) // 2])
    assert " ends early: " in refusal(tmp_path / "a.aac")


def test_a_voc_that_ends_early(tmp_path):
    data = written(tmp_path / "a.voc", 4, "VOC")
    (tmp_path / "a.voc").write_bytes(data[: len(data) // 2])
    assert " ends early: 2.00 s of 4.00 s" in refusal(tmp_path / "a.voc")


@needs_ffmpeg
def test_a_voc_of_several_blocks_is_read_by_ffmpeg(tmp_path):
    """libsndfile reads their heads as sound."""
    path = tmp_path / "a.voc"
    data = by_ffmpeg(path, 2)
    assert len(audio.read_mono(path)) == 2 * RATE
    path.rename(tmp_path / "a.wav")
    assert " has several parts of sound, which only ffmpeg reads: " in refusal(tmp_path / "a.wav")
    path.write_bytes(data[:-1])
    assert "end" in audio.read(path).doubts
    path.write_bytes(data[:-1] + data)
    assert f"a second file begins at byte {len(data) - 1:,}" in refusal(path)


@pytest.mark.parametrize("part", ["frames in the middle", "nothing"])
def test_a_flac_of_unknown_length(tmp_path, part):
    data = written(tmp_path / "a.flac", 4, "FLAC")
    head = re.escape(data[data.index(b"\xff\xf8") :][:4])  # of each frame
    begins = [found.start() for found in re.finditer(head, data)]
    lost = data[begins[3] : begins[5]] if part == "frames in the middle" else b""
    data = data[:21] + bytes([data[21] & 0xF0]) + bytes(4) + data[26:].replace(lost, b"", 1)
    (tmp_path / "a.flac").write_bytes(data)
    if lost:
        assert re.search(r" ends early: 3\.\d\d s of 4\.00 s", refusal(tmp_path / "a.flac"))
    else:
        assert len(audio.read_mono(tmp_path / "a.flac")) == 4 * RATE


UNDERSTATED = {
    "WAV": (40, "<I", 32000),
    "RF64": (28, "<Q", 32000),
    "AU": (8, ">I", 32000),
    "FLAC": (22, ">I", RATE),
}


@needs_ffmpeg
@pytest.mark.parametrize("harm", [*UNDERSTATED, "crashed", "a half", "two streams"])
def test_the_remedy_that_a_refusal_names_mends(tmp_path, harm):
    path = tmp_path / "a"
    data = bytearray(
        written(
            path, 4, {"crashed": "WAV", "two streams": "OGG"}.get(harm, harm) if harm != "a half" else "FLAC"
        )
    )
    if harm in UNDERSTATED:
        at, layout, number = UNDERSTATED[harm]
        struct.pack_into(layout, data, data.find(b"ds64") + 16 if harm == "RF64" else at, number)
    if harm == "crashed":
        data[40:44] = bytes(4)
    path.write_bytes(data[: len(data) // 2] if harm == "a half" else data * (1 + (harm == "two streams")))
    suffix = {"FLAC": ".flac", "a half": ".flac", "two streams": ".ogg"}.get(harm, "")
    command = re.search(r"ffmpeg [^;)]*?NEW(\.\w+)?", refusal(path))
    new = tmp_path / f"new{command[1] or suffix}"
    words = [{"FILE": path}.get(word, new if word.startswith("NEW") else word) for word in command[0].split()]
    subprocess.run([*words, "-v", "error", "-nostdin"], check=True)
    length = len(audio.read_mono(new)) / RATE
    assert length == pytest.approx({"a half": 1.8, "two streams": 8}.get(harm, 4), abs=0.3)


def test_erased_bytes_behind_an_mp3_are_not_tried_one_by_one(tmp_path, monkeypatch):
    path = tmp_path / "a.mp3"
    path.write_bytes(written(path, 1, "MP3") + b"\xff" * 200_000)
    read, calls = os.pread, []
    monkeypatch.setattr(os, "pread", lambda *args: calls.append(args) or read(*args))
    audio.read(path)
    assert len(calls) < 2000


def test_large_files_are_looked_through_in_small_blocks(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(16000, 16036))
    os.truncate(path, 2**25)
    read, sizes = os.pread, []
    monkeypatch.setattr(os, "pread", lambda file, size, at: sizes.append(size) or read(file, size, at))
    refusal(path)
    assert max(sizes) < 2**21


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    written(path, 20, "WAV")
    read = decoders._Stream.read

    def read_and_shorten(*args, **kwargs):
        block = read(*args, **kwargs)
        os.truncate(path, 5000)
        return block

    monkeypatch.setattr(decoders._Stream, "read", read_and_shorten)
    assert " ends early: " in refusal(path)


@pytest.mark.parametrize("data", FINE.values(), ids=FINE.keys())
def test_wav_files_that_are_whole(tmp_path, data):
    (tmp_path / "a.wav").write_bytes(data)
    assert len(audio.read_mono(tmp_path / "a.wav")) == 16000


# --- lost and damaged parts ---------------------------------------------------------------------------------


def pages(data: bytes) -> list[bytes]:
    begins = [i for i in range(len(data)) if data[i : i + 4] == b"OggS"]
    return [data[i:j] for i, j in zip(begins, [*begins[1:], len(data)], strict=True)]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("harm", ["one bit", "a page lost", "the first page of sound lost", "junk between"])
def test_an_ogg_with_a_lost_or_damaged_page(tmp_path, subtype, harm):
    one = pages(written(tmp_path / "a.ogg", 6, "OGG", subtype))
    middle = len(one) // 2
    if harm == "one bit":
        one[middle] = one[middle][:300] + bytes([one[middle][300] ^ 1]) + one[middle][301:]
    elif harm == "junk between":
        one[middle] = bytes(500) + one[middle]
    else:
        del one[middle if harm == "a page lost" else 2]
    (tmp_path / "a.ogg").write_bytes(b"".join(one))
    told = refusal(tmp_path / "a.ogg")
    assert " is damaged at byte " in told or " lacks the pages before byte " in told
    assert harm == "junk between" or " of 6.0" in told


@pytest.mark.parametrize("behind", [b"", bytes(100_000)])
@pytest.mark.parametrize("marked", [True, False])
def test_an_ogg_may_end_unmarked_or_be_followed_by_zeros(tmp_path, marked, behind):
    one = pages(written(tmp_path / "a.ogg", 4, "OGG"))
    (tmp_path / "a.ogg").write_bytes(b"".join(one if marked else one[:-1]) + behind)
    if marked or not behind:
        notes = []
        sound = audio.read(tmp_path / "a.ogg", note=notes.append)
        assert len(sound.samples) >= (64000 if marked else 16000)
        assert ("end" in sound.doubts) != marked and len(notes) == (not marked)
    else:
        assert " breaks off" in refusal(tmp_path / "a.ogg")


def changed(page: bytes, hours: int = 0, marked: bool = True, skipped: int = 0) -> bytes:
    """A page of Ogg whose clock began some hours, or its number some pages earlier, or without the mark."""
    granule = struct.unpack("<q", page[6:14])[0] + hours * 3600 * 48000
    page = page[:5] + bytes([page[5] & (7 if marked else 3)]) + struct.pack("<q", granule) + page[14:]
    page = page[:18] + struct.pack("<I", page[18] + skipped) + page[22:]
    checksum = ogg._ogg_checksum(page)
    return page[:22] + struct.pack("<I", checksum) + page[26:]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_recorded_from_a_station_is_read(tmp_path, subtype):
    """The clock of its first page shows hours, and its last page is not marked."""
    one = pages(written(tmp_path / "a.ogg", 6, "OGG", subtype))
    one[2:] = [changed(page, hours=1, marked=False) for page in one[2:]]
    (tmp_path / "a.ogg").write_bytes(b"".join(one))
    assert abs(len(audio.read_mono(tmp_path / "a.ogg")) - 6 * RATE) < 200


def test_an_ogg_whose_pages_are_not_counted_from_zero_is_read(tmp_path):
    one = [changed(page, skipped=5) for page in pages(written(tmp_path / "a.ogg", 6, "OGG"))]
    (tmp_path / "a.ogg").write_bytes(b"".join(one))
    assert len(audio.read_mono(tmp_path / "a.ogg")) == 6 * RATE
    (tmp_path / "a.ogg").write_bytes(b"".join(one[:3] + one[4:]))
    assert " lacks the pages before byte " in refusal(tmp_path / "a.ogg")


@needs_ffmpeg
def test_a_piece_that_was_cut_out_of_an_opus_is_read(tmp_path):
    by_ffmpeg(tmp_path / "b.opus", 6)
    command = ["ffmpeg", "-v", "error", "-ss", "2.37", "-i", tmp_path / "b.opus", "-t", "2.5", "-c", "copy"]
    subprocess.run([*command, tmp_path / "a.opus"], check=True)
    assert abs(len(audio.read_mono(tmp_path / "a.opus")) - 2.5 * RATE) < 0.5 * RATE


@needs_ffmpeg
@pytest.mark.parametrize("name, options", [("a.spx", []), ("a.mka", ["-c:a", "flac"]), ("a.tta", [])])
def test_damage_that_a_checksum_tells(tmp_path, name, options):
    data = bytearray(by_ffmpeg(tmp_path / name, 4, *options))
    assert len(audio.read_mono(tmp_path / name)) == pytest.approx(4 * RATE, abs=1600)
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    assert refusal(tmp_path / name)


def test_a_flac_whose_first_frame_is_damaged(tmp_path):
    data = bytearray(written(tmp_path / "a.flac", 2, "FLAC"))
    at = data.index(b"\xff\xf8")
    data[at + 2 : at + 10] = bytes(8)
    (tmp_path / "a.flac").write_bytes(data)
    assert refusal(tmp_path / "a.flac").startswith(" cannot be decoded (")


def mp3(path: Path, header: bool) -> bytes:
    """An mp3 of changing bit rate, quiet, then loud; without the `header` nothing tells its length."""
    sound = noise(4, 44100) * 10 * np.repeat([1e-4, 0.2], 2 * 44100)
    soundfile.write(path, sound, 44100, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    if not header:
        path.write_bytes(path.read_bytes().replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    return path.read_bytes()


def test_an_mp3_with_tags_and_a_constant_bit_rate_is_read(tmp_path):
    data = mp3(tmp_path / "a.mp3", header=True)
    whole = audio.read_mono(tmp_path / "a.mp3")
    id3 = b"ID3\4\0\0\0\0\x02\0" + bytes(256)
    (tmp_path / "a.mp3").write_bytes(id3 + data + b"TAG" + bytes(125))
    np.testing.assert_array_equal(audio.read_mono(tmp_path / "a.mp3"), whole)
    soundfile.write(tmp_path / "b.mp3", noise(4, 44100), 44100, bitrate_mode="CONSTANT")
    (tmp_path / "b.mp3").write_bytes((tmp_path / "b.mp3").read_bytes().replace(b"Info", bytes(4)))
    assert abs(len(audio.read_mono(tmp_path / "b.mp3", rate=44100)) - 4 * 44100) < 4000


def test_the_decoder_of_an_mp3_with_a_hole_does_not_speak_to_the_terminal(tmp_path, capfd):
    data = mp3(tmp_path / "a.mp3", header=True)
    (tmp_path / "a.mp3").write_bytes(data[:20000] + bytes(3000) + data[20000:])
    assert " holds 4.0" in refusal(tmp_path / "a.mp3")
    assert capfd.readouterr() == ("", "")


# --- what a file is called, and what else is in it ----------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize(
    "content, name",
    [
        ("b.m4a", "aac.mp3"),
        ("b.webm", "webm.opus"),
        ("b.spx", "speex.ogg"),
        ("b.wv", "wavpack.wav"),
        ("b.flac", "flac.m4a"),
    ],
)
def test_the_content_decides_on_the_decoder(tmp_path, content, name):
    by_ffmpeg(tmp_path / content, 1).hex()
    (tmp_path / content).rename(tmp_path / name)
    assert abs(len(audio.read_mono(tmp_path / name)) - 16000) < 1200


def test_a_wav_with_a_name_for_ffmpeg_is_read_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a.m4a").write_bytes(wav(32000, 32036))
    assert len(audio.read_mono(tmp_path / "a.m4a")) == 16000


@needs_ffmpeg
def test_a_damaged_picture_beside_the_sound_does_not_matter(tmp_path):
    picture = ["-f", "lavfi", "-i", "color=size=64x64:duration=0.1:rate=10", "-map", "0", "-map", "1"]
    cover = ["-c:v", "mjpeg", "-disposition:v", "attached_pic", "-f", "mp4"]
    data = by_ffmpeg(tmp_path / "a.m4a", 1, *picture, *cover)
    at = data.find(b"\xff\xd8\xff")
    assert at > 0
    (tmp_path / "a.m4a").write_bytes(data[:at] + b"<html>404</html>".ljust(40) + data[at + 40 :])
    assert abs(len(audio.read_mono(tmp_path / "a.m4a")) - 16000) < 1200
