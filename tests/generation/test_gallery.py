"""Gallery of a folder of generated sounds: records and page."""

import json
import os
import tempfile
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import matplotlib.image
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from samplernn_theano.errors import OutputError
from samplernn_theano.generation import gallery
from samplernn_theano.generation.gallery import Record, Sound
from tests.generation.test_spectrograms import tone


def record(stem: str, *files: str, **changes) -> Record:
    sounds = tuple(Sound(file=name, peak=0.5, rms_dbfs=-9.03, seconds=0.25) for name in files)
    known = {"checkpoint": "run/best.npz", "family": "three_tier", "seed": 7, "top_p": None, "seconds": 0.25}
    known |= {"backend": "numba", "date": "2025-11-23T04:37:00+00:00", "versions": {"numpy": "2.2"}}
    known |= {"stem": stem, "temperatures": (1.0,) * len(files), "sounds": sounds}
    return Record(**known | changes)


def generate(folder: Path, stem: str, *files: str, **changes) -> Record:
    """Write sound files and their record."""
    for name in files:
        soundfile.write(os.fsencode(folder / name), tone(1000, 4000), 16000)
    made = record(stem, *files, **changes)
    gallery.write_record(folder, made)
    return made


class Page(HTMLParser):
    """Elements of a page, and the text of its headings and paragraphs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {tag: [] for tag in ("h2", "p", "h3", "td", "span")}
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.headings, self.paragraphs = self.texts["h2"], self.texts["p"]
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.found.append((tag, dict(attributes)))
        self.open += [tag] * (tag not in ("meta", "img", "link", "br"))
        self.texts.get(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            if tag in self.texts:
                self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def test_any_record_can_be_read_again(tmp_path):
    silent = Sound(file="<ü>\n.wav", peak=0, rms_dbfs=None, seconds=1e300)
    loud = Sound(file="$\u2028.wav", peak=9.5, rms_dbfs=-0.1, seconds=0.0, nll_bits=4)
    full = {"sounds": (silent, loud), "temperatures": (1e-30, 2), "primes": ("after x", ""), "top_p": 0.5}
    for made in (record("none"), record("\n%<ü>", seed=2**64, versions={"": "\0"}, **full)):
        gallery.write_record(tmp_path, made)
        assert gallery.read_records(tmp_path) == [made]
        (tmp_path / f"{made.stem}.json").unlink()


def test_the_newest_record_comes_first(tmp_path):
    for stem, date in (
        ("a", "2025-11-23T06:00:00+02:00"),  # 04:00 UTC
        ("b", "2025-11-23T05:00:00+00:00"),
        ("c", "2025-11-23T00:00:00-06:00"),  # 06:00 UTC
        ("d", "2024-12-31T23:59:59.5+00:00"),
    ):
        gallery.write_record(tmp_path, record(stem, date=date))
    assert [r.stem for r in gallery.read_records(tmp_path)] == ["c", "b", "a", "d"]


def invalid_records() -> list[object]:
    good = json.loads(json.dumps({"made_by": "samplernn generate"} | asdict(record("a", "a.wav"))))
    sound = good["sounds"][0]
    changes = [
        *({"made_by": "somebody"}, {"colour": "red"}, {"seed": "<b>"}, {"stem": "../a"}, {"date": "now"}),
        *({"temperatures": []}, {"temperatures": ["hot"]}, {"top_p": "most"}, {"versions": ["1"]}),
        *({"primes": ["x", "y"]}, {"sounds": "a.wav"}, {"sounds": ["a.wav"]}, {"seconds": 10**400}),
    ]
    of_sound = [{"file": "../../a.wav"}, {"file": "/a.wav"}, {"file": "a" * 300}, {"peak": None}]
    changes += [{"sounds": [sound | change]} for change in [*of_sound, {"nll_bits": "4"}]]
    less = [{k: v for k, v in good.items() if k != gone} for gone in ("made_by", "seed")]
    return [[1, 2], 3, None, {"name": "package", "version": 1}, *less, *(good | c for c in changes)]


def test_invalid_records_are_skipped(tmp_path):
    contents = [json.dumps(value).encode() for value in invalid_records()]
    for name, content in enumerate([*contents, b"", b"{", b"\xff\xfe", b"[" * 100_000]):
        (tmp_path / f"{name}.json").write_bytes(content)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to("nothing")
    made = generate(tmp_path, "b", "b.wav")
    assert gallery.read_records(tmp_path) == [made]
    gallery.write_page(tmp_path)
    assert Page(tmp_path / "index.html").headings == ["b"]


def test_a_page_has_a_player_and_a_thumbnail_for_each_sound(tmp_path):
    generate(tmp_path, "first", "a.wav", "b.flac")
    generate(tmp_path, "second", "c.ogg", date="2025-11-24T00:00:00+00:00")
    gallery.write_page(tmp_path)
    page = Page(tmp_path / "index.html")
    assert page.headings == ["second", "first"]
    assert [audio["src"] for audio in page.all("audio")] == ["c.ogg", "a.wav", "b.flac"]
    assert all("controls" in audio and audio["preload"] == "none" for audio in page.all("audio"))
    assert [image["loading"] for image in page.all("img")] == ["lazy"] * 3
    for image, name in zip(page.all("img"), ("c.ogg", "a.wav", "b.flac"), strict=True):
        assert image["alt"] == f"Spectrogram of {name}"
        picture = matplotlib.image.imread(tmp_path / image["src"])
        assert picture.shape == (128, 4000 // 256, 4)
        brightness = picture[..., :3].sum(axis=2)[:, 7]
        assert abs(brightness.argmax() - (127 - 1000 / 8000 * 128)) <= 1.5  # 1 kHz, counted from below


def test_a_page_is_self_contained_and_accessible_and_describes_the_settings(tmp_path):
    generate(tmp_path, "a", "a.wav")
    gallery.write_page(tmp_path)
    text, page = (tmp_path / "index.html").read_text(), Page(tmp_path / "index.html")
    assert "://" not in text and not page.all("script") and not page.all("link") and "url(" not in text
    assert page.all("html") == [{"lang": "en"}] and page.all("audio")[0]["aria-label"] == "a.wav"
    assert [section["aria-labelledby"] for section in page.all("section")] == [page.all("h2")[0]["id"]]
    settings = "seed 7, temperature 1, computed by numba."
    assert f"1 sequence of 0.2 s from run/best.npz (three_tier), {settings}" in page.paragraphs
    assert "Made 2025-11-23 04:37 UTC with numpy 2.2." in page.paragraphs
    assert "0.2 s; peak 0.50, RMS -9.0 dBFS" in page.paragraphs


def test_spectrograms_have_axes_in_seconds_and_kilohertz(tmp_path):
    generate(tmp_path, "a", "a.wav")
    soundfile.write(tmp_path / "a.wav", tone(1000, 40_000), 16000)
    gallery.write_page(tmp_path)
    page = Page(tmp_path / "index.html")
    assert page.texts["span"] == [*(f"{i} kHz" for i in (0, 2, 4, 6, 8)), *(f"{i} s" for i in (0, 1, 2))]
    places = [span["style"] for span in page.all("span")]
    assert places[:5] == [f"bottom: {i}%" for i in (0, 25, 50, 75, 100)]
    assert places[5:] == ["left: 0%", "left: 40%", "left: 80%"]
    hidden = {tag["class"]: tag["aria-hidden"] for tag in page.all("div") if tag["class"] != "spectrogram"}
    assert hidden == {"kilohertz": "true", "seconds": "true"}  # the picture has a text of its own


def test_every_sound_of_the_folder_is_listed_also_those_without_a_record(tmp_path):
    generate(tmp_path, "made", "made_0.wav")
    others = ["b.flac", "a <b>.wav", f"{'n' * 250}.wav"]
    for name in ("sample_i90_0.wav", "sample_i100_10.wav", "sample_i100_2.wav", *others):
        soundfile.write(tmp_path / name, tone(1000, 4000), 16000)
    soundfile.write(tmp_path / "long.ogg", tone(1000, 61 * 8000), 8000)
    (tmp_path / "c.m4a").write_bytes(b"that needs ffmpeg")
    (tmp_path / "notes.txt").write_text("no sound")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / ".hidden.1.part.wav").write_bytes(b"being written")
    gallery.write_page(tmp_path)
    page = Page(tmp_path / "index.html")
    assert page.headings == ["made", "Samples of the evaluations", "Other sounds"]
    samples = ["sample_i100_2.wav", "sample_i100_10.wav", "sample_i90_0.wav"]
    listed = ["made_0.wav", *samples, "a <b>.wav", "b.flac", "c.m4a", "long.ogg", others[2]]
    assert [audio["aria-label"] for audio in page.all("audio")] == listed
    drawn = [image["alt"].removeprefix("Spectrogram of ") for image in page.all("img")]
    assert drawn == listed[:6]  # not what is long, or has too long a name
    assert page.paragraphs[0].startswith("1 sound of 1 generation and 8 more, ")
    assert {"iteration 100", "iteration 90", "0.2 s", "1.0 min"} <= set(page.paragraphs)
    assert "This file cannot be decoded." not in page.paragraphs


def test_settings_that_differ_between_sounds_are_shown_with_each(tmp_path):
    sounds = (
        Sound(file="a.wav", peak=0.25, rms_dbfs=-20, seconds=4, nll_bits=3.25),
        Sound(file="b.wav", peak=0, rms_dbfs=None, seconds=90),
    )
    more = {"primes": ("after x.wav", "after y.wav"), "silence": "silent from 2 s to 3 s", "top_p": 0.95}
    generate(tmp_path, "a", "a.wav", "b.wav", sounds=sounds, temperatures=(0.8, 1.25), **more)
    gallery.write_page(tmp_path)
    paragraphs = Page(tmp_path / "index.html").paragraphs
    assert (
        "2 sequences of 0.2 s from run/best.npz (three_tier), seed 7, temperatures 0.8 to 1.25, top-p 0.95, "
        "continuing several recordings, silent from 2 s to 3 s, computed by numba."
    ) in paragraphs
    facts = "4.0 s; peak 0.25, RMS -20.0 dBFS; 3.250 bits per sample; temperature 0.8; after x.wav"
    assert facts in paragraphs
    assert "1.5 min; silent; temperature 1.25; after y.wav" in paragraphs

    text = gallery.describe(record("a", "a.wav", "b.wav", primes=("after x.wav",) * 2))
    assert text.endswith("temperature 1, after x.wav, computed by numba")  # a common prime, once


SPECIAL = ["a\"b'c.wav", "<b>&amp;&.wav", "Bücher 100% #1?.wav", "http:x.wav", "%41+a.wav", "a\nb.wav"]


@pytest.mark.parametrize("name", [*SPECIAL, os.fsdecode(b"\xfc.wav")])
def test_any_file_name_is_shown_and_linked(tmp_path, name):
    generate(tmp_path, name.removesuffix(".wav"), name)
    gallery.write_page(tmp_path)
    page = Page(tmp_path / "index.html")
    (audio,), (image,), (link,) = page.all("audio"), page.all("img"), page.all("a")
    for address in (audio["src"], link["href"], image["src"]):
        assert not set(address) & set("\"'<>&? #:\n")
        assert Path(tmp_path, os.fsdecode(unquote_to_bytes(address))).is_file()
    shown = name.replace("\n", "\\n").replace("\udcfc", "\\udcfc")
    assert audio["aria-label"] == shown and shown in page.paragraphs
    assert page.headings == [shown.removesuffix(".wav")]


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_any_text_of_a_record_is_shown_verbatim(text):
    with tempfile.TemporaryDirectory() as folder:
        made = record("a", checkpoint=text, family=text, backend=text, silence=text, versions={text: text})
        gallery.write_record(Path(folder), made)
        gallery.write_page(Path(folder))
        page = Page(Path(folder, "index.html"))
        assert f"{gallery.escape_control_characters(gallery.describe(made))}." in page.paragraphs
        kinds = "body h1 h2 head header html main meta p section style time title ul"
        assert sorted({tag for tag, _ in page.found}) == kinds.split()


def test_a_sound_that_was_removed_or_damaged_is_marked(tmp_path):
    generate(tmp_path, "a", "a.wav", "b.wav", "c.wav")
    (tmp_path / "a.wav").unlink()
    (tmp_path / "b.wav").write_bytes(b"junk")
    gallery.write_page(tmp_path)
    page = Page(tmp_path / "index.html")
    assert "This file no longer exists." in page.paragraphs
    assert "This file cannot be decoded." in page.paragraphs
    assert [audio["src"] for audio in page.all("audio")] == ["b.wav", "c.wav"]
    assert [image["alt"] for image in page.all("img")] == ["Spectrogram of c.wav"]


def test_thumbnails_are_redrawn_only_for_new_sounds_and_small(tmp_path):
    generate(tmp_path, "a", "a.wav", "b.wav")
    for name in ("a.wav", "b.wav"):
        os.utime(tmp_path / name, (1, 1))
    gallery.write_page(tmp_path)
    pictures = [tmp_path / "spectrograms" / f"{name}.png" for name in ("a.wav", "b.wav")]
    first = pictures[0].stat().st_ino
    soundfile.write(tmp_path / "b.wav", np.random.default_rng(0).uniform(-1, 1, 960_000), 16000)
    os.utime(tmp_path / "b.wav", (2**32, 2**32))
    gallery.write_page(tmp_path)
    assert pictures[0].stat().st_ino == first and pictures[1].stat().st_size < 70_000
    assert matplotlib.image.imread(pictures[1]).shape[:2] == (128, 400)


def test_a_page_that_cannot_be_written(tmp_path):
    generate(tmp_path, "a", "a.wav")
    (tmp_path / "spectrograms").touch()
    with pytest.raises(OutputError, match=r"Could not write .*a\.wav\.png"):
        gallery.write_page(tmp_path)
