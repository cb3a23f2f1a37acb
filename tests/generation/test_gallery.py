"""A folder of generated sounds: its records, its sheet of spectrograms and its page."""

import json
import os
import tempfile
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import matplotlib.image
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.generation import gallery
from samplernn_theano.generation.gallery import Record, Sound
from samplernn_theano.utils import plotting


def tone(hertz: float, samples: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16000)).astype(np.float32)


def record(stem: str, *files: str, **changes) -> Record:
    sounds = tuple(Sound(file=name, peak=0.5, rms_dbfs=-9.03, seconds=0.25) for name in files)
    return Record(
        **{
            "stem": stem,
            "checkpoint": "run/best.npz",
            "family": "three_tier",
            "seed": 7,
            "temperatures": (1.0,) * len(files),
            "top_p": None,
            "seconds": 0.25,
            "backend": "numba",
            "date": "2025-11-23T04:37:00+00:00",
            "versions": {"numpy": "2.2"},
            "sounds": sounds,
        }
        | changes
    )


def generate(folder: Path, stem: str, *files: str, **changes) -> Record:
    """Sound files and their record."""
    for name in files:
        soundfile.write(os.fsencode(folder / name), tone(1000, 4000), 16000)
    made = record(stem, *files, **changes)
    gallery.write_record(folder, made)
    return made


class Page(HTMLParser):
    """The elements of a page, and the text of each section."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.paragraphs: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "h2":
            self.headings.append("")
        if tag in ("p", "title"):
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "h2" in self.open:
            self.headings[-1] += data
        elif "p" in self.open or "title" in self.open:
            self.paragraphs[-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


# ---- Records


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20
).filter(lambda name: name not in (".", ".."))
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def records(draw: st.DrawFn) -> Record:
    files = draw(st.lists(names, max_size=3))
    sounds = tuple(
        Sound(
            file=name,
            peak=draw(numbers),
            rms_dbfs=draw(st.none() | numbers),
            seconds=draw(numbers),
            nll_bits=draw(st.none() | numbers),
        )
        for name in files
    )
    return replace(
        record(draw(names)),
        checkpoint=draw(st.text()),
        seed=draw(st.integers(0, 2**64)),
        sounds=sounds,
        temperatures=tuple(draw(numbers) for _ in files),
        primes=draw(st.sampled_from([(), tuple(draw(st.text()) for _ in files)])),
        versions=draw(st.dictionaries(st.text(), st.text(), max_size=2)),
        top_p=draw(st.none() | numbers),
    )


@settings(max_examples=60, deadline=None)
@given(records())
def test_any_record_can_be_read_again(made):
    with tempfile.TemporaryDirectory() as folder:
        path = gallery.write_record(folder, made)
        assert path == Path(folder, f"{made.stem}.json")
        assert gallery.read_records(folder) == [made]


def test_the_newest_record_comes_first(tmp_path):
    for stem, date in (
        ("a", "2025-11-23T06:00:00+02:00"),  # 04:00 UTC
        ("b", "2025-11-23T05:00:00+00:00"),
        ("c", "2025-11-23T00:00:00-06:00"),  # 06:00 UTC
        ("d", "2024-12-31T23:59:59.5+00:00"),
    ):
        gallery.write_record(tmp_path, record(stem, date=date))
    assert [r.stem for r in gallery.read_records(tmp_path)] == ["c", "b", "a", "d"]


def spoiled() -> dict[str, object]:
    good = json.loads(json.dumps({"made_by": "samplernn generate"} | asdict(record("a", "a.wav"))))
    sound = good["sounds"][0]
    return {
        "a list": [1, 2],
        "a number": 3,
        "null": None,
        "foreign": {"name": "package", "version": 1},
        "not marked": {key: value for key, value in good.items() if key != "made_by"},
        "another's": good | {"made_by": "somebody"},
        "more": good | {"colour": "red"},
        "less": {key: value for key, value in good.items() if key != "seed"},
        "seed": good | {"seed": "<b>"},
        "stem": good | {"stem": "../a"},
        "checkpoint": good | {"checkpoint": None},
        "date": good | {"date": "yesterday"},
        "temperatures": good | {"temperatures": []},
        "temperature": good | {"temperatures": ["hot"]},
        "top_p": good | {"top_p": "most"},
        "versions": good | {"versions": ["1"]},
        "version": good | {"versions": {"numpy": 2}},
        "primes": good | {"primes": ["x", "y"]},
        "sounds": good | {"sounds": "a.wav"},
        "sound": good | {"sounds": ["a.wav"]},
        "a file elsewhere": good | {"sounds": [sound | {"file": "../../a.wav"}]},
        "an absolute path": good | {"sounds": [sound | {"file": "/a.wav"}]},
        "a very long name": good | {"sounds": [sound | {"file": "a" * 300}]},
        "peak": good | {"sounds": [sound | {"peak": None}]},
        "length": good | {"seconds": float("inf")},
        "a huge number": good | {"seconds": 10**400},
        "loudness": good | {"sounds": [sound | {"rms_dbfs": float("nan")}]},
        "bits": good | {"sounds": [sound | {"nll_bits": "4"}]},
    }


@pytest.mark.parametrize("case", list(spoiled()))
def test_what_is_no_record_is_skipped(tmp_path, case):
    (tmp_path / "x.json").write_text(json.dumps(spoiled()[case]))
    made = generate(tmp_path, "b", "b.wav")
    assert gallery.read_records(tmp_path) == [made]
    gallery.write_page(tmp_path)
    assert Page(tmp_path / "index.html").headings == ["b"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_skipped(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to("nothing")
    assert gallery.read_records(tmp_path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"stem": "a/b"},
        {"temperatures": (1.0, 2.0)},
        {"primes": ("a", "b")},
        {"date": "today"},
        {"sounds": (Sound(file="../a.wav", peak=1, rms_dbfs=0, seconds=1),)},
    ],
)
def test_a_record_that_contradicts_itself(changes):
    with pytest.raises(ValueError):
        replace(record("a", "a.wav"), **changes)


def test_a_record_with_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError):
        gallery.write_record(tmp_path, record("a", seconds=float("nan")))
    assert not list(tmp_path.iterdir())


def test_a_record_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"a\.json"):
        gallery.write_record(tmp_path / "file", record("a"))


# ---- Spectrograms


@pytest.mark.parametrize("samples", [512, 1023, 1024, 4000, 16000, 262_143, 262_144, 600_001])
def test_a_spectrogram_that_is_read_in_blocks_is_that_of_the_whole(tmp_path, samples):
    x = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", x, 16000, "FLOAT")
    power, seconds, rate = gallery.spectrogram(tmp_path / "a.wav", columns=10_000)
    whole = plotting._powers(x, 1024)
    np.testing.assert_allclose(power, whole, rtol=1e-3, atol=1e-5 * whole.max())
    assert (seconds, rate) == (samples / 16000, 16000)


@pytest.mark.parametrize("samples", [1, 255, 256, 511])
def test_a_very_short_sound_is_one_column(tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", tone(1000, samples), 16000)
    assert gallery.spectrogram(tmp_path / "a.wav")[0].shape == (513, 1)


@pytest.mark.parametrize("columns", [1, 7, 100])
def test_many_hops_are_averaged_into_few_columns(tmp_path, columns):
    x = np.random.default_rng(0).uniform(-1, 1, 600_001).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", x, 16000, "FLOAT")
    power, _, _ = gallery.spectrogram(tmp_path / "a.wav", columns)
    whole = plotting._powers(x, 1024)
    column = np.arange(whole.shape[1]) * columns // whole.shape[1]
    expected = np.stack([whole[:, column == i].mean(axis=1) for i in range(columns)], axis=1)
    np.testing.assert_allclose(power, expected, rtol=1e-3, atol=1e-5 * whole.max())


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The figures that are drawn, in order."""
    saved, save = [], Figure.savefig

    def keep(self, *args, **kwargs):
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def test_a_sheet_shows_the_pitch_and_the_length_of_each_sound(tmp_path, figures):
    soundfile.write(tmp_path / "low.flac", tone(1000, 8000), 16000)
    soundfile.write(tmp_path / "high.ogg", tone(6000, 4000), 16000)
    sounds = {"low": tmp_path / "low.flac", "$high$ $x": str(tmp_path / "high.ogg")}
    gallery.write_sheet(tmp_path / "a.png", sounds)
    panels = figures[0].axes
    assert [axes.get_title() for axes in panels] == list(sounds)
    assert not any(axes.title.get_parse_math() for axes in panels)  # a name with two $ is no formula
    for axes, kilohertz, seconds in zip(panels, (1, 6), (0.5, 0.25), strict=True):
        (image,) = axes.images
        assert image.origin == "lower" and image.get_clim() == (-90, 0)
        np.testing.assert_allclose(image.get_extent(), [0, seconds, 0, 8])
        rows = image.get_array()
        assert abs(8 * rows[:, rows.shape[1] // 2].argmax() / (len(rows) - 1) - kilohertz) < 0.02
        assert rows.max() == 0 and rows.min() >= -90
    assert figures[0].get_suptitle() == ""
    assert matplotlib.image.imread(tmp_path / "a.png").ndim == 3


def test_a_sheet_shows_eight_sounds_and_says_how_many_more_there_are(tmp_path, figures):
    soundfile.write(tmp_path / "a.wav", tone(1000, 300), 16000)
    gallery.write_sheet(tmp_path / "a.png", {f"{i}": tmp_path / "a.wav" for i in range(8)})
    gallery.write_sheet(tmp_path / "b.png", {f"{i}": tmp_path / "a.wav" for i in range(20)})
    assert [axes.get_title() for axes in figures[1].axes] == list("01234567")
    assert figures[0].get_suptitle() == ""
    assert figures[1].get_suptitle() == "8 of 20 sounds; 12 more are not drawn"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [np.zeros(2000), np.zeros(1), [np.nan, np.inf, -np.inf, 0.5]])
def test_a_sheet_of_a_sound_with_nothing_in_it(tmp_path, figures, samples):
    soundfile.write(tmp_path / "a.wav", np.array(samples, "f"), 16000, "FLOAT")
    gallery.write_sheet(tmp_path / "a.png", {"a": tmp_path / "a.wav"})
    image = figures[0].axes[0].images[0].get_array()
    assert np.isfinite(image).all()
    assert np.any(samples) or (image == -90).all()  # silence is black


def test_a_long_sound_is_drawn_with_few_columns(tmp_path, figures):
    soundfile.write(tmp_path / "a.wav", np.tile(tone(1000, 16000), 60), 16000)
    gallery.write_sheet(tmp_path / "a.png", {"a": tmp_path / "a.wav"})
    assert figures[0].axes[0].images[0].get_array().shape == (513, 2000)


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100])
def test_a_sheet_of_a_file_that_is_no_sound(tmp_path, content):
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.wav cannot be drawn \("):
        gallery.write_sheet(tmp_path / "a.png", {"x": tmp_path / "x.wav"})
    assert not (tmp_path / "a.png").exists()


# ---- The page


def test_a_page_has_a_player_and_a_picture_for_each_sound(tmp_path):
    generate(tmp_path, "first", "a.wav", "b.flac")
    generate(tmp_path, "second", "c.ogg", date="2025-11-24T00:00:00+00:00")
    assert gallery.write_page(tmp_path) == tmp_path / "index.html"
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
        assert abs(brightness.argmax() - (127 - 1000 / 8000 * 128)) <= 1.5  # the tone is at 1 kHz, from below


def test_a_page_is_whole_by_itself_and_fits_phones_dark_rooms_and_screen_readers(tmp_path):
    generate(tmp_path, "a", "a.wav")
    gallery.write_page(tmp_path)
    text = (tmp_path / "index.html").read_text()
    page = Page(tmp_path / "index.html")
    assert "://" not in text and not page.all("script") and not page.all("link") and "url(" not in text
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert "prefers-color-scheme: dark" in text and "minmax(min(100%" in text
    assert all(audio["aria-label"] for audio in page.all("audio"))
    labelled = [section["aria-labelledby"] for section in page.all("section")]
    assert labelled == [heading["id"] for heading in page.all("h2")]


def test_the_settings_stand_in_words(tmp_path):
    generate(tmp_path, "a", "a.wav")
    gallery.write_page(tmp_path)
    words = Page(tmp_path / "index.html").paragraphs
    assert (
        "1 sequence of 0.2 s from run/best.npz (three_tier), seed 7, temperature 1, computed by numba."
        in words
    )
    assert "Made 2025-11-23 04:37 UTC with numpy 2.2." in words
    assert "0.2 s; peak 0.50, RMS -9.0 dBFS" in words


def test_what_differs_between_sounds_stands_with_each(tmp_path):
    sounds = (
        Sound(file="a.wav", peak=0.25, rms_dbfs=-20, seconds=4, nll_bits=3.25),
        Sound(file="b.wav", peak=0, rms_dbfs=None, seconds=90),
    )
    more = {"primes": ("after x.wav", "after y.wav"), "silence": "silent from 2 s to 3 s", "top_p": 0.95}
    generate(tmp_path, "a", "a.wav", "b.wav", sounds=sounds, temperatures=(0.8, 1.25), **more)
    gallery.write_page(tmp_path)
    words = Page(tmp_path / "index.html").paragraphs
    assert (
        "2 sequences of 0.2 s from run/best.npz (three_tier), seed 7, temperatures 0.8 to 1.25, top-p 0.95, "
        "going on from several recordings, silent from 2 s to 3 s, computed by numba."
    ) in words
    facts = "4.0 s; peak 0.25, RMS -20.0 dBFS; 3.250 bits per sample; temperature 0.8; after x.wav"
    assert facts in words
    assert "1.5 min; silent; temperature 1.25; after y.wav" in words


def test_one_prime_for_all_is_said_once():
    told = gallery.describe(record("a", "a.wav", "b.wav", primes=("after x.wav",) * 2))
    assert told.endswith("temperature 1, after x.wav, computed by numba.")


def test_without_sounds_there_is_a_page_too(tmp_path):
    gallery.write_page(tmp_path)
    gallery.write_record(tmp_path, record("none"))
    gallery.write_page(tmp_path)
    assert Page(tmp_path / "index.html").headings == ["none"]


CRUEL = [
    "a\"b'c.wav",
    "<b>&amp;&.wav",
    "Bücher 100% #1?.wav",
    "http:x.wav",
    "%41+a.wav",
    "a\nb.wav",
    "$x$.wav",
]


@pytest.mark.parametrize("name", [*CRUEL, os.fsdecode(b"\xfc.wav")])
def test_any_file_name_is_shown_and_found(tmp_path, name):
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


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30))
def test_any_text_of_a_record_is_shown_as_it_is(text):
    with tempfile.TemporaryDirectory() as folder:
        made = record("a", checkpoint=text, family=text, backend=text, silence=text, versions={text: text})
        gallery.write_record(folder, made)
        gallery.write_page(folder)
        page = Page(Path(folder, "index.html"))
        assert gallery.visible(gallery.describe(made)) in page.paragraphs
        kinds = {tag for tag, _ in page.found}
        assert kinds == {"html", "head", "meta", "title", "style", "body", "header", "h1", "p", "main"} | {
            *("section", "h2", "time", "ul")
        }


def test_a_sound_that_was_removed_or_spoiled_is_said_to_be_so(tmp_path):
    generate(tmp_path, "a", "a.wav", "b.wav", "c.wav")
    (tmp_path / "a.wav").unlink()
    (tmp_path / "b.wav").write_bytes(b"junk")
    gallery.write_page(tmp_path)
    page = Page(tmp_path / "index.html")
    assert "This file is no longer there." in page.paragraphs
    assert "This file cannot be decoded." in page.paragraphs
    assert [audio["src"] for audio in page.all("audio")] == ["b.wav", "c.wav"]
    assert [image["alt"] for image in page.all("img")] == ["Spectrogram of c.wav"]


def test_pictures_are_drawn_again_only_for_new_sounds(tmp_path):
    generate(tmp_path, "a", "a.wav", "b.wav")
    for name in ("a.wav", "b.wav"):
        os.utime(tmp_path / name, (1, 1))
    gallery.write_page(tmp_path)
    pictures = [tmp_path / "spectrograms" / f"{name}.png" for name in ("a.wav", "b.wav")]
    first = [picture.stat().st_ino for picture in pictures]
    soundfile.write(tmp_path / "b.wav", tone(3000, 9000), 16000)
    os.utime(tmp_path / "b.wav", (2**32, 2**32))
    gallery.write_page(tmp_path)
    assert pictures[0].stat().st_ino == first[0]
    assert matplotlib.image.imread(pictures[1]).shape[1] == 9000 // 256


def test_a_long_sound_has_a_small_picture(tmp_path):
    generate(tmp_path, "a", "a.wav")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-1, 1, 960_000), 16000)
    gallery.write_page(tmp_path)
    assert matplotlib.image.imread(tmp_path / "spectrograms" / "a.wav.png").shape[:2] == (128, 400)
    assert (tmp_path / "spectrograms" / "a.wav.png").stat().st_size < 70_000


def test_a_page_of_somebody_else_is_not_overwritten(tmp_path):
    (tmp_path / "index.html").write_text("<p>mine</p>")
    generate(tmp_path, "a", "a.wav")
    with pytest.raises(OutputError, match=r"index\.html is a page that samplernn did not make; move it"):
        gallery.write_page(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<p>mine</p>"


def test_a_page_that_cannot_be_written(tmp_path):
    generate(tmp_path, "a", "a.wav")
    (tmp_path / "spectrograms").touch()
    with pytest.raises(OutputError, match=r"Could not write .*a\.wav\.png"):
        gallery.write_page(tmp_path)
