"""A listening test as it is made: loudness, choice of the sounds, the folder, its secrets."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.cli.main import main
from samplernn_theano.errors import DataError, OutputError
from samplernn_theano.listening import page, stimuli

RATE = 16000


def sine(hertz: float, seconds: float, amplitude: float = 1.0) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def noise(seconds: float, amplitude: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, amplitude, round(seconds * RATE))


def write(folder: Path, **named: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, samples in named.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE, "FLOAT")
    return folder


@pytest.fixture
def systems(tmp_path) -> dict[str, Path]:
    """Three tones of each of two systems, differently loud, one in a sub-folder, all 1 s or longer."""
    loud = {f"shrill{i}": sine(900 + 100 * i, 1 + i / 2, 0.9) for i in range(3)}
    quiet = {f"mellow{i}": sine(200 + 20 * i, 1.5, 0.01 * (i + 1)) for i in range(2)}
    folders = {"Trumpet": write(tmp_path / "brass", **loud), "Organ": write(tmp_path / "pipes", **quiet)}
    write(tmp_path / "pipes" / "deep", mellow2=sine(240, 1.5, 0.2))
    return folders


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_loudness_is_that_of_the_standard():
    assert stimuli.loudness(sine(997, 2)) == pytest.approx(-3.01, abs=0.02)  # the calibration of BS.1770
    assert stimuli.loudness(sine(997, 2, 0.1)) == pytest.approx(-23.01, abs=0.02)
    assert stimuli.loudness(sine(30, 2)) < -10  # what is deep is hardly heard
    assert stimuli.loudness(sine(4000, 2)) == pytest.approx(0.3, abs=0.1)  # the head lifts it by 4 dB
    assert stimuli.loudness(np.zeros(RATE)) == stimuli.loudness(sine(997, 1, 1e-4)) == -np.inf


def test_noise_is_flat_and_tones_are_not():
    assert stimuli.flatness(noise(5)) > 0.99 and stimuli.flatness(noise(0.4)) > 0.95
    assert stimuli.flatness(sine(440, 1) + noise(1, 0.01)) < 0.1
    assert stimuli.flatness(np.cumsum(noise(5))) < 0.1  # brown noise, like a rumble
    assert stimuli.flatness(np.zeros(RATE)) == 0


def test_all_sounds_are_equally_many_long_and_loud(tmp_path, systems):
    made = page.make(systems, tmp_path / "test", clips=3)
    wavs = {path.stem: soundfile.read(path) for path in (tmp_path / "test" / "sounds").iterdir()}
    described = read(tmp_path / "test" / "test.json")
    assert sorted(map(len, described["systems"].values())) == [3, 3]
    assert sorted(sum(described["systems"].values(), [])) == sorted(wavs)
    for samples, rate in wavs.values():
        assert rate == RATE and len(samples) == RATE  # the shortest has 1 s
        assert stimuli.loudness(samples) == pytest.approx(-23, abs=0.05)
        assert abs(samples[0]) < 0.001 and abs(samples[-1]) < 0.001  # no click where it is cut
    assert described["seconds"] == 1.0 and "shrill0.wav" in page.describe(made)


def test_a_large_page_is_said_to_take_a_fast_line(tmp_path, systems, monkeypatch):
    made = page.make(systems, tmp_path / "test")
    assert "fast line" not in page.describe(made)
    monkeypatch.setattr(page, "LARGE", 0.01)
    assert "before the first pair, which takes a fast line; fewer --clips" in page.describe(made)


def test_a_sharp_peak_lowers_all_sounds(tmp_path):
    click = sine(300, 1.5, 0.05)
    click[RATE // 2] = 1.0
    folders = {"a": write(tmp_path / "a", click=click), "b": write(tmp_path / "b", tone=sine(300, 1.5))}
    made = page.make(folders, tmp_path / "test")
    assert made.stimuli.loudness < -28
    assert any("click.wav" in remark and "LUFS" in remark for remark in made.stimuli.remarks)
    for path in (tmp_path / "test" / "sounds").iterdir():
        samples, _ = soundfile.read(path)
        assert np.abs(samples).max() < 10 ** (-0.9 / 20)
        assert stimuli.loudness(samples) == pytest.approx(made.stimuli.loudness, abs=0.1)


@pytest.mark.parametrize("leave_out", [False, True])
def test_noise_and_silence_are_named(tmp_path, systems, leave_out):
    write(systems["Organ"], hiss=noise(1.5), hush=np.zeros(2 * RATE))
    made = page.make(systems, tmp_path / "test", leave_out_noise=leave_out, clips=4)
    said = page.describe(made)
    assert "Organ: left out 1 clip of silence" in said and ": hush.wav." in said
    noisy = "left out" if leave_out else "kept (see --leave-out-noise)"
    assert f"Organ: {noisy} 1 clip of noise" in said and ": hiss.wav." in said
    key = read(tmp_path / "test" / "key.json")
    files = {Path(sound["file"]).name for sound in key["sounds"].values()}
    assert "hush.wav" not in files and not (leave_out and "hiss.wav" in files)
    assert len(files) == 6  # Trumpet has no more than three


def test_noise_alone_and_short_sounds_are_named(tmp_path):
    folders = {name: write(tmp_path / name, **{name: noise(1, seed=i)}) for i, name in enumerate("ab")}
    page.make(folders, tmp_path / "test")
    with pytest.raises(DataError, match="All clips of a in .* are silent or noise"):
        page.make(folders, tmp_path / "other", leave_out_noise=True)
    write(folders["a"], blip=sine(440, 0.3))
    with pytest.raises(DataError, match=r"blip.wav lasts 0.30 s"):
        page.make(folders, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_clips_are_drawn_by_the_seed(tmp_path):
    tones = {f"t{i:02}": sine(200 + 10 * i, 0.5) for i in range(12)}
    folders = {"a": write(tmp_path / "a", **tones), "b": write(tmp_path / "b", **tones)}

    def files(seed: int, out: str) -> list[str]:
        page.make(folders, tmp_path / out, clips=5, seed=seed)
        return sorted(s["file"] for s in read(tmp_path / out / "key.json")["sounds"].values())

    first = files(0, "0")
    assert len(first) == 10 and len({Path(f).parent for f in first}) == 2
    assert first == files(0, "again") != files(1, "1")
    ids = [read(tmp_path / out / "test.json")["id"] for out in ("0", "again", "1")]
    assert ids[0] == ids[1] != ids[2]
    assert (tmp_path / "0" / "index.html").read_bytes() == (tmp_path / "again" / "index.html").read_bytes()


def test_the_page_tells_nothing_that_the_key_tells(tmp_path, systems):
    made = page.make(systems, tmp_path / "test", title="</script><b>Which & why? $style")
    html = (tmp_path / "test" / "index.html").read_text(encoding="utf-8")
    public = html + (tmp_path / "test" / "test.json").read_text()
    without_sounds = re.sub(r'<script type="text/plain".*?</script>', "", public)
    for secret in ("Trumpet", "Organ", "brass", "pipes", "shrill", "mellow", "deep", "loudness"):
        assert secret.lower() not in without_sounds.lower()
    assert "<b>Which" not in html and "&lt;b&gt;Which &amp; why? $style</title>" in html
    assert not re.search(r'(src|href)="(?!data:)', html) and "http://" not in html and "https://" not in html
    key = read(tmp_path / "test" / "key.json")
    assert key["test"] == made.test["id"] and sorted(key["systems"].values()) == ["Organ", "Trumpet"]
    for system, ids in made.test["systems"].items():
        assert ids == sorted(ids)
        for sound in ids:
            entry = key["sounds"][sound]
            assert entry["system"] == system
            assert Path(entry["file"]).is_relative_to(systems[key["systems"][system]])
            ours, _ = soundfile.read(tmp_path / "test" / "sounds" / f"{sound}.wav")
            theirs, _ = soundfile.read(entry["file"])
            louder = (theirs * 10 ** (entry["gain"] / 20))[200:15800]
            np.testing.assert_allclose(ours[200:-200], louder, atol=2e-3)


def test_a_test_is_replaced_only_with_overwrite_and_never_with_its_votes(tmp_path, systems):
    out = tmp_path / "test"
    first = page.make(systems, out).test["id"]
    with pytest.raises(OutputError, match="--overwrite"):
        page.make(systems, out, seed=1)
    (out / "server.sqlite").touch()
    assert page.make(systems, out, seed=1, overwrite=True).test["id"] != first
    assert len(list((out / "sounds").iterdir())) == 6
    assert {p.name for p in tmp_path.iterdir()} == {"brass", "pipes", "test"}
    (out / "results.sqlite").touch()
    with pytest.raises(OutputError, match=r"results.sqlite.*votes"):
        page.make(systems, out, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="other files"):
        page.make(systems, tmp_path / "mine", overwrite=True)


def run(*words: object) -> int:
    return main(["listening-test", *map(str, words)])


def test_the_command_makes_a_test(tmp_path, systems, capsys):
    words = [f"{name}={folder}" for name, folder in systems.items()]
    words += ["--out", tmp_path / "test"]
    assert run("make", *words, "--pairs", 9, "--seconds", 0.5, "--listeners", 4) == 0
    said = capsys.readouterr().out
    assert "2 systems, 3 sounds of each, 0.5 s long, at -23.0 LUFS; 9 pairs" in said
    assert "With 3 sounds of each system no difference can be significant at 5 %, however many listen" in said
    assert "the same sound up to 3 times" in said and "key.json" in said
    described = read(tmp_path / "test" / "test.json")
    assert (described["pairs"], described["seconds"], "post" in described) == (9, 0.5, False)
    assert f"serve {tmp_path}/test` shows it to those with one of the 4 links in links.txt" in said
    tokens = re.findall(r"(?m)^\?token=([0-9a-f]{16})$", (tmp_path / "test" / "links.txt").read_text())
    assert len(set(tokens)) == 4
    assert run("make", *words, "--overwrite") == 0  # for everybody
    assert "shows it to everybody who opens it" in capsys.readouterr().out
    assert not (tmp_path / "test" / "links.txt").exists()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["make", "x=nowhere"], "at least two systems"),
        (["make", "x=nowhere", "x=elsewhere"], "the same name"),
        (["make", "x=nowhere", "y=elsewhere"], "There is no folder nowhere"),
        (["make", "folder"], "NAME=FOLDER"),
        (["export-waet", "nowhere"], "listening-test make"),
    ],
)
def test_wrong_words_are_one_line(tmp_path, capsys, words, sentence):
    try:
        code = run(*words, "--out", tmp_path / "test")
    except SystemExit as end:  # of argparse
        code = end.code
    said = capsys.readouterr().err
    assert code == 2 and sentence in said and said.count("\n") == 1
