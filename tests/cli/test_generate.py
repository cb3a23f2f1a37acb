"""`samplernn generate` as its users see it: files, names, words, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

import samplernn_theano
from samplernn_theano.checkpoints import load, npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.data import quantization
from samplernn_theano.evaluation import score
from samplernn_theano.generation import gallery, partial, priming, samplers
from samplernn_theano.generation import generate as generation
from samplernn_theano.generation import write as producing
from samplernn_theano.utils import files
from tests.generation.test_partial import HP, REAL, interpreted
from tests.generation.test_samplers import parameters

WAVENET = WaveNet(dim=4, q_levels=16, wavenet_blocks=1, dilation_layers_per_block=3, batch_size=1)


def save(path: Path, hp=HP, **changes) -> Path:
    arrays = parameters(hp).arrays()
    for name, change in changes.items():
        change(arrays[name.replace("_", ".")])
    npz.save(path, npz.Checkpoint(hp, arrays))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "model.npz")


@pytest.fixture(scope="module")
def primes(tmp_path_factory) -> Path:
    """A folder of recordings to go on from."""
    folder, rng = tmp_path_factory.mktemp("primes"), np.random.default_rng(0)
    soundfile.write(folder / "talk.wav", rng.uniform(-0.5, 0.5, 100), 16000)
    soundfile.write(folder / "song.flac", rng.uniform(-0.5, 0.5, 64), 16000)
    soundfile.write(folder / "stereo.wav", rng.uniform(-0.5, 0.5, (441, 2)), 44100)
    soundfile.write(folder / "short.wav", [0.1, -0.1, 0.3], 16000)
    soundfile.write(folder / "empty.wav", [], 16000)
    soundfile.write(folder / "constant.wav", np.full(100, 0.25), 16000)
    soundfile.write(folder / "nan.wav", [0.1, np.nan], 16000, subtype="FLOAT")
    (folder / "text.wav").write_text("text")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Graphs are small and not compiled, pictures are not drawn, nothing is synced."""
    for module in (samplers, priming, score):
        monkeypatch.setattr(module, "compile_function", interpreted)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", 40)
    monkeypatch.setattr(gallery, "write_sheet", lambda path, sounds: path.touch())
    monkeypatch.setattr(gallery, "draw_small", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def generate(capsys, quick):
    """Run the command; it must end with the code. What it said: standard output and standard error."""

    def run(*words, code: int = 0) -> tuple[str, str]:
        ended = main(["generate", *map(str, words)])
        said, errors = capsys.readouterr()
        assert ended == code, errors
        assert "Traceback" not in errors
        return said, errors

    return run


def names(folder: Path) -> list[str]:
    """Of the files that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def sounds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.wav"))}


def affine(x: np.ndarray, y: np.ndarray) -> float:
    """How far, at most, y is from a x + b with the best a > 0 and b."""
    a, b = np.polyfit(x, y, 1)
    assert a > 0
    return float(np.abs(a * x + b - y).max())


# --- what is written ----------------------------------------------------------------------------------------


def test_sound_files_a_sheet_a_record_and_a_page(model, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert main(["generate", str(model), "--seconds", "0.25", "--n_seqs", "2", "--out", str(out)]) == 0
    assert names(out) == [
        "index.html",
        "model_seed0_t1.json",
        "model_seed0_t1_0.wav",
        "model_seed0_t1_1.wav",
        "model_seed0_t1_spectrograms.png",
        "spectrograms",
    ]
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    for path in out.glob("*.wav"):
        x, rate = soundfile.read(path)
        assert rate == 16000 and x.shape == (4000,) and soundfile.info(path).subtype == "PCM_16"
        assert np.abs(x).max() == pytest.approx(0.9, abs=1e-4) and abs(x.mean()) < 1e-4
        assert path.name in (out / "index.html").read_text()
    said, errors = capsys.readouterr()
    assert re.search(r"2 x 0\.25 s of sound in [\d.]+ s .*: [\d,]+ steps/s, [\d.]+ times real time", said)
    for path in [*out.glob("*.wav"), *out.glob("*.png"), out / "index.html"]:
        assert str(path) in said
    assert re.search(r"_0\.wav \(peak 0\.90, RMS -\d+\.\d dBFS\)", said)
    last = errors.splitlines()[-1].split("\r")[-1]
    assert re.search(r"generate: 100% \|.+\| 0\.2 of 0\.2 s of sound \[00:\d\d<00:00, [\d.]+ x real", last)


def test_the_same_command_gives_the_same_bytes_and_a_sequence_does_not_depend_on_the_others(
    model, tmp_path, generate
):
    words = (model, "--seconds", 0.2, "--seed", 7, "--out")
    generate(*words, tmp_path / "a", "--n_seqs", 3)
    generate(*words, tmp_path / "b", "--n_seqs", 3)
    generate(*words, tmp_path / "c", "--n_seqs", 1)
    a, b, c = (sounds(tmp_path / name) for name in "abc")
    assert a == b and len({content for content in a.values()}) == 3
    assert c["model_seed7_t1_0.wav"] == a["model_seed7_t1_0.wav"] and len(c) == 1


def test_names_tell_what_is_not_usual(model, primes, tmp_path, generate):
    words = ["--seconds", 0.05, "--n_seqs", 2, "--seed", 3, "--temperature", 0.8, 1.25, "--top-p", 0.95]
    words += ["--silence", "0.01:0.02", "--prime", primes / "talk.wav", "--prime", primes / "song.flac"]
    generate(model, *words, "--out", tmp_path / "a")
    assert [name for name in names(tmp_path / "a") if "seed" in name] == [
        "model_seed3_t0.8-1.25_p0.95_silence0.01-0.02_after-talk-and-1.json",
        "model_seed3_t0.8-1.25_p0.95_silence0.01-0.02_after-talk-and-1_spectrograms.png",
        "model_seed3_t0.8_p0.95_silence0.01-0.02_after-talk_0.wav",
        "model_seed3_t1.25_p0.95_silence0.01-0.02_after-song_1.wav",
    ]
    (record,) = gallery.read_records(tmp_path / "a")
    assert record.temperatures == (0.8, 1.25) and record.top_p == 0.95 and record.seed == 3
    assert record.primes == ("after talk.wav", "after song.flac") and record.backend == "kernels"
    assert record.silence == "silence from 0.01 to 0.02 s" and record.seconds == 0.05


def test_a_run_keeps_its_sounds_under_its_name(model, tmp_path, generate):
    folder = tmp_path / "mine" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("best", "last"):
        (folder / f"{name}.npz").write_bytes(model.read_bytes())
    generate(tmp_path / "mine", "--seconds", 0.01, "--n_seqs", 1)
    generate(folder / "last.npz", "--seconds", 0.01, "--n_seqs", 1)
    found = [path.name for path in (tmp_path / "mine" / "samples").glob("*.wav")]
    assert sorted(found) == ["mine_best_seed0_t1_0.wav", "mine_last_seed0_t1_0.wav"]


def test_the_name_of_a_recording_may_be_long(model, primes, tmp_path, generate):
    long = tmp_path / f"{'x' * 240}.wav"
    long.write_bytes((primes / "talk.wav").read_bytes())
    generate(model, "--seconds", 0.01, "--n_seqs", 1, "--prime", long, "--out", tmp_path / "out")
    assert f"model_seed0_t1_after-{'x' * 40}_0.wav" in names(tmp_path / "out")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_file_says_what_it_is(model, primes, tmp_path, generate, suffix):
    words = ["--seconds", 0.1, "--n_seqs", 2, "--seed", 3, "--temperature", 0.8, 1.2, "--top-p", 0.95]
    generate(model, *words, "--silence", "0.05:0.06", "--format", suffix, "--out", tmp_path)
    (path,) = tmp_path.glob(f"*_1.{suffix}")
    with soundfile.SoundFile(path) as file:
        assert file.title == path.stem and file.software.startswith("samplernn-theano")
        comment, subtype = file.comment, file.subtype
        x = file.read()
    for words in ("three_tier", str(model), "seed 3, sequence 1", "temperature 1.2", "top-p 0.95"):
        assert words in comment
    assert "silence from 0.05 to 0.06 s" in comment
    assert subtype == {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS"}[suffix] and len(x) == 1600


def test_floats_are_the_same_sound_unrounded(model, tmp_path, generate):
    generate(model, "--seconds", 0.2, "--n_seqs", 1, "--out", tmp_path / "a")
    generate(model, "--seconds", 0.2, "--n_seqs", 1, "--float", "--out", tmp_path / "b")
    path = tmp_path / "b" / "model_seed0_t1_0.wav"
    assert soundfile.info(path).subtype == "FLOAT"
    x, y = (soundfile.read(tmp_path / name / path.name)[0] for name in "ab")
    assert 0 < np.abs(x - y).max() <= 0.5 / 32768


def test_a_constant_sequence_is_silence(tmp_path, generate):
    def constant(bias):
        bias[7] = 1000

    path = save(tmp_path / "model.npz", SampleLevel_Output_b=constant)
    said, _ = generate(path, "--seconds", 0.1, "--n_seqs", 1, "--out", tmp_path / "out")
    assert "(silent)" in said
    assert not soundfile.read(tmp_path / "out" / "model_seed0_t1_0.wav")[0].any()


def test_one_sample_is_a_sound(model, tmp_path, capsys):
    assert main(["generate", str(model), "--seconds", "1e-9", "--n_seqs", "1", "--out", str(tmp_path)]) == 0
    assert soundfile.info(tmp_path / "model_seed0_t1_0.wav").frames == 1


def test_silence_is_heard_and_written(model, tmp_path, generate):
    words = (model, "--seconds", 0.2, "--n_seqs", 1, "--float", "--out", tmp_path)
    generate(*words)
    generate(*words, "--silence", "0.05:0.1")
    plain, silenced = (
        soundfile.read(tmp_path / f"model_seed0_t1{rest}_0.wav")[0] for rest in ("", "_silence0.05-0.1")
    )
    assert not silenced[800:1600].any() and np.ptp(silenced[1600:]) > 0.5
    assert affine(plain[:800], silenced[:800]) < 1e-6  # the level of a file is its own
    assert affine(plain[1600:], silenced[1600:]) > 0.1


def test_hundreds_of_sequences_are_told_of_in_short(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(gallery, "draw_small", lambda *_: None)
    words = ["--seconds", "0.01", "--n_seqs", "300", "--out", str(tmp_path)]
    assert main(["generate", str(model), *words]) == 0
    assert [p.name for p in sorted(tmp_path.glob("*.wav"))] == [
        f"model_seed0_t1_{i:03d}.wav" for i in range(300)
    ]
    said = capsys.readouterr().out
    assert len(said.splitlines()) < 15 and "... and 292 more" in said
    assert max(matplotlib.image.imread(tmp_path / "model_seed0_t1_spectrograms.png").shape) < 3000
    page = (tmp_path / "index.html").read_text()
    assert page.count("<audio") == 300 and len(page) < 300_000
    assert (
        main(["generate", str(model), "--seconds", "0.01", "--n_seqs", "1", "--out", str(tmp_path / "a")])
        == 0
    )
    one, many = (
        soundfile.read(p)[0]
        for p in (tmp_path / "a" / "model_seed0_t1_0.wav", tmp_path / "model_seed0_t1_000.wav")
    )
    np.testing.assert_array_equal(one, many)


# --- rank ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hp", [HP, REAL], ids=lambda hp: hp.family)
def test_a_rank_is_the_score_of_what_was_generated(hp, tmp_path, generate, monkeypatch):
    monkeypatch.setattr(score, "PASS", 64)
    path = save(tmp_path / "model.npz", hp)
    said, _ = generate(path, "--seconds", 0.01, "--n_seqs", 3, "--rank", "--out", tmp_path / "out")
    (record,) = gallery.read_records(tmp_path / "out")
    model = load.read(path)
    scorer = score.compile_scorer(model)
    raw = generation.take(generation.prepare(model, generation.Request(n_seqs=3)), 160)
    expected = [score.score(scorer, x, raw=True).bits for x in raw]
    assert [sound.nll_bits for sound in record.sounds] == pytest.approx(expected, rel=1e-6)
    told = [float(bits) for bits in re.findall(r"([-\d.]+) bits per sample", said)]
    assert told == pytest.approx(sorted(expected), abs=1e-4) and len(set(told)) == 3
    best = record.sounds[int(np.argmin(expected))].file
    assert best in next(line for line in said.splitlines() if "bits" in line)


def test_what_cannot_be_ranked_is_refused_before_the_work(tmp_path, generate):
    path = save(tmp_path / "model.npz", replace(REAL, mean=None, std=None))
    _, errors = generate(path, "--seconds", 0.01, "--rank", "--out", tmp_path / "out", code=2)
    assert "give --set mean=... and --set std=..." in errors and names(tmp_path / "out") == []
    assert not list((tmp_path / "out").iterdir())


# --- primes -------------------------------------------------------------------------------------------------


def test_a_prime_stands_in_front_unless_it_is_unwanted(model, primes, tmp_path, generate):
    words = (model, "--seconds", 0.1, "--n_seqs", 1, "--prime", primes / "talk.wav", "--float", "--out")
    generate(*words, tmp_path / "with")
    generate(*words, tmp_path / "without", "--without-prime")
    name = "model_seed0_t1_after-talk_0.wav"
    whole, alone = (soundfile.read(tmp_path / folder / name)[0] for folder in ("with", "without"))
    assert (len(whole), len(alone)) == (1700, 1600)
    prime, _ = soundfile.read(primes / "talk.wav")
    levels = quantization.quantize(prime[None], HP.q_levels, HP.q_type)[0]
    assert affine(generation.amplitudes(levels, HP), whole[:100]) < 1e-6
    assert affine(alone, whole[100:]) < 1e-6
    plain = np.concatenate(list(samplernn_theano.generate(model, 0.1)), axis=1)[0]
    assert affine(plain, alone) > 0.1  # it was heard


def test_sequences_take_turns_with_primes_of_any_rate_and_length(model, primes, tmp_path, generate):
    words = ["--prime", primes / "stereo.wav", "--prime", primes / "song.flac", "--seconds", 0.05]
    said, _ = generate(model, *words, "--n_seqs", 3, "--out", tmp_path)
    assert f"{primes / 'stereo.wav'}: 44,100 Hz resampled to 16,000 Hz" in said
    assert "song.flac:" not in said
    lengths = {path.name: soundfile.info(path).frames for path in tmp_path.glob("*.wav")}
    assert lengths == {
        "model_seed0_t1_after-stereo_0.wav": 160 + 800,
        "model_seed0_t1_after-song_1.wav": 64 + 800,
        "model_seed0_t1_after-stereo_2.wav": 160 + 800,
    }


def test_as_many_sequences_as_primes(model, primes, tmp_path, generate):
    words = [word for _ in range(5) for word in ("--prime", primes / "talk.wav")]
    generate(model, *words, "--seconds", 0.01, "--out", tmp_path)
    assert len(sounds(tmp_path)) == 5


def test_a_prime_shorter_than_a_receptive_field_is_told(primes, tmp_path, generate):
    path = save(tmp_path / "wavenet.npz", WAVENET)
    words = ["--prime", primes / "short.wav", "--prime", primes / "talk.wav"]
    said, _ = generate(path, *words, "--seconds", 0.005, "--n_seqs", 2, "--out", tmp_path / "out")
    assert f"short.wav has 3 samples, the model looks back over {WAVENET.overlap}: it hears silence" in said
    assert said.count("looks back") == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.wav", "no recording .*missing.wav"),
        ("empty.wav", "empty.wav holds no samples"),
        ("constant.wav", "constant.wav is constant .*leave the prime out"),
        ("nan.wav", "nan.wav holds samples that are NaN"),
        ("text.wav", "text.wav cannot be decoded"),
        ("", "is a folder"),
    ],
)
def test_a_prime_that_cannot_be_heard_is_refused(model, primes, tmp_path, generate, name, words):
    _, errors = generate(model, "--seconds", 0.01, "--prime", primes / name, "--out", tmp_path, code=2)
    assert re.fullmatch(f"samplernn: .*{words}.*\n", errors) and list(tmp_path.iterdir()) == []


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--temperature 0", "--temperature must be a positive number"),
        ("--temperature -1", "--temperature must be a positive number"),
        ("--temperature nan", "--temperature must be a positive number"),
        ("--temperature 1 2", "--temperature has 2 values for 4 sequences"),
        ("--top-p 0", "--top-p is 0"),
        ("--top-p 1.5", "--top-p is 1.5"),
        ("--silence 0.2:0.3", "--silence 0.2:0.3 begins after the end; give more --seconds"),
        ("--prime a.wav --prime b.wav --n_seqs 1", "give --n_seqs 2 or more"),
        ("--format flac --float", "--float is for wav files"),
        ("--generations 2", "--generations goes with --like-original"),
        ("--like-original --format flac", "leave out --silence, --format and --float"),
        ("--like-original --silence 0.05:0.1", "leave out --silence, --format and --float"),
        ("--like-original --seed 1", "--like-original goes without"),
        ("--like-original --seconds 0.0001", "--seconds is too short"),
        ("--seconds 1e6", "cannot be larger than 4 GiB"),
        ("--beside missing.wav", "no recording missing.wav"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(model, tmp_path, generate, words, told):
    words = ["--seconds", "0.1", *words.split(), "--out", tmp_path / "out"]
    _, errors = generate(model, *words, code=2)
    assert re.fullmatch(r"samplernn: .*\n", errors) and told in errors
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--silence 2", "'2' is no stretch of time FROM:TO in seconds, such as 2:3"),
        ("--silence 3:2", "is no stretch of time"),
        ("--silence 2:2", "is no stretch of time"),
        ("--silence x:3", "is no stretch of time"),
        ("--silence 0:inf", "is no stretch of time"),
        ("--seconds 0", "'0' is not a positive number"),
        ("--seconds nan", "'nan' is not a positive number"),
        ("--n_seqs 0", "'0' is not a positive whole number"),
        ("--format mp3", "choose from"),
        ("--temperature", "expected at least one argument"),
    ],
)
def test_words_that_make_no_sense_are_refused_in_a_line(model, tmp_path, capsys, words, told):
    with pytest.raises(SystemExit, match="2"):
        main(["generate", str(model), "--out", str(tmp_path), *words.split()])
    errors = capsys.readouterr().err
    assert told in errors and len(errors.splitlines()) == 1


def test_models_that_cannot_are_told(tmp_path, generate):
    def broken(bias):
        bias[3] = np.nan

    real, out = save(tmp_path / "real.npz", REAL), tmp_path / "out"
    assert "needs levels to choose from" in generate(real, "--top-p", 0.9, "--out", out, code=2)[1]
    assert "The original has no rnn_gmm" in generate(real, "--like-original", "--out", out, code=2)[1]
    nan = save(tmp_path / "nan.npz", SampleLevel_L2_b=broken)
    assert "SampleLevel.L2.b of" in generate(nan, "--out", out, code=2)[1]
    assert not list(out.glob("*"))


# --- what is there already ----------------------------------------------------------------------------------


def test_what_is_there_is_kept_unless_told_otherwise(model, tmp_path, generate):
    words = (model, "--seconds", 0.05, "--n_seqs", 2, "--out", tmp_path)
    generate(*words)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    said, errors = generate(*words, code=2)
    told = tmp_path / "model_seed0_t1_0.wav"
    assert errors == f"samplernn: {told} is there already; give --overwrite, or another --seed or --out.\n"
    # The names of these sounds are other ones, but that of the record is the same.
    assert "is there already" in generate(*words, "--n_seqs", 12, code=2)[1]
    assert "is there already" in generate(*words, "--format", "flac", code=2)[1]
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    generate(*words, "--seed", 1)
    (tmp_path / "model_seed0_t1_1.wav").write_bytes(b"broken")
    generate(*words, "--overwrite")
    after = sounds(tmp_path)
    assert len(after) == 4 and all(after[name] == before[name] for name in before if name.endswith(".wav"))


def test_what_is_replaced_does_not_stay_under_other_names(model, tmp_path, generate):
    words = (model, "--seconds", 0.05, "--out", tmp_path)
    generate(*words, "--n_seqs", 3, "--seed", 1)
    generate(*words, "--n_seqs", 12)
    generate(*words, "--n_seqs", 2, "--overwrite")
    assert [name.removesuffix(".wav") for name in sounds(tmp_path)] == [
        *("model_seed0_t1_0", "model_seed0_t1_1"),
        *("model_seed1_t1_0", "model_seed1_t1_1", "model_seed1_t1_2"),
    ]


@pytest.mark.parametrize("folder", ["file", "file/in", "/proc/nowhere"])
def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    model, tmp_path, generate, monkeypatch, folder
):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(generation, "prepare", lambda *_: pytest.fail("the work was begun"))
    _, errors = generate(model, "--seconds", 0.05, "--out", tmp_path / folder, code=2)
    assert re.fullmatch(
        r"samplernn: (.* is a file; choose|Could not write|Not allowed to write) .*\n", errors
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_while_sounds_are_written(model, tmp_path, generate, monkeypatch):
    """The sounds are not generated again when there is room."""
    words = (model, "--seconds", 0.2, "--n_seqs", 2, "--out", tmp_path)
    write = producing.sound_files.write

    def full(path, *arguments):
        if path.stem.endswith("1"):
            raise producing.OutputError(files.explain(path, OSError(28, "No space left on device")))
        write(path, *arguments)

    with monkeypatch.context() as context:
        context.setattr(producing.sound_files, "write", full)
        assert "No disk space left while writing" in generate(*words, code=2)[1]
    said, errors = generate(*words)
    assert "Going on after 0.2 s." in errors and "2 x 0.00 s of sound in" in said
    assert len(sounds(tmp_path)) == 2


def test_a_page_of_somebody_else_is_kept(model, tmp_path, generate):
    words = (model, "--seconds", 0.05, "--n_seqs", 1, "--out", tmp_path)
    (tmp_path / "index.html").write_text("mine")
    assert "index.html is a page that samplernn did not make; move it" in generate(*words, code=2)[1]
    assert (tmp_path / "index.html").read_text() == "mine"
    (tmp_path / "index.html").unlink()
    assert not list(tmp_path.iterdir())  # it was refused before the work
    generate(*words)
    assert "model_seed0_t1_0.wav" in (tmp_path / "index.html").read_text()


# --- interruptions ------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(monkeypatch):
    """Have the block with this number, from 0, be interrupted."""

    def at(number: int, error: BaseException):
        blocks = generation.blocks

        def some(*arguments):
            yield from islice(blocks(*arguments), number)
            raise error

        monkeypatch.setattr(generation, "blocks", some)
        return lambda: monkeypatch.setattr(generation, "blocks", blocks)

    return at


def test_an_interrupted_command_goes_on_and_says_so(model, primes, tmp_path, generate, interrupted):
    words = (model, "--seconds", 0.5, "--n_seqs", 3, "--prime", primes / "talk.wav", "--out")
    generate(*words, tmp_path / "whole")
    undo = interrupted(2, KeyboardInterrupt())
    _, errors = generate(*words, tmp_path / "a", code=130)
    assert "Stopped; the same command goes on from here." in errors
    assert not names(tmp_path / "a")  # nothing is there but what is hidden
    undo()
    said, errors = generate(*words, tmp_path / "a")
    assert "Going on after 0.2 s." in errors and "3 x 0.30 s of sound in" in said
    assert re.search(r"generate: +40% \|.*\| 0\.2 of 0\.5 s of sound", errors)
    assert sounds(tmp_path / "a") == sounds(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(names(tmp_path / "whole"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_it_goes_on_over_what_is_there_when_that_is_to_be_replaced(
    model, tmp_path, generate, interrupted, overwrite
):
    words = (model, "--seconds", 0.5, "--n_seqs", 1, "--out", tmp_path)
    generate(*words, "--seconds", 0.1)
    undo = interrupted(2, SystemExit(143))
    with pytest.raises(SystemExit):
        generate(*words, "--overwrite")
    assert soundfile.info(tmp_path / "model_seed0_t1_0.wav").frames == 1600  # it is there until then
    undo()
    assert "Going on after 0.2 s." in generate(*words, *["--overwrite"] * overwrite)[1]
    assert soundfile.info(tmp_path / "model_seed0_t1_0.wav").frames == 8000


def test_another_length_goes_on_from_there_too(model, tmp_path, generate, interrupted):
    generate(model, "--seconds", 0.7, "--n_seqs", 1, "--out", tmp_path / "whole")
    undo = interrupted(5, KeyboardInterrupt())
    generate(model, "--seconds", 0.9, "--n_seqs", 1, "--out", tmp_path / "a", code=130)
    undo()
    assert (
        "Going on after 0.5 s."
        in generate(model, "--seconds", 0.7, "--n_seqs", 1, "--out", tmp_path / "a")[1]
    )
    assert sounds(tmp_path / "a") == sounds(tmp_path / "whole")


def test_less_than_is_there_is_not_what_was_interrupted(model, tmp_path, generate, interrupted):
    words = (model, "--n_seqs", 1, "--out", tmp_path / "a", "--seconds")
    undo = interrupted(5, KeyboardInterrupt())
    generate(*words, 0.9, code=130)
    undo()
    _, errors = generate(*words, 0.3, code=2)
    assert re.fullmatch(r"samplernn: .*0\.5.* s .*--overwrite.*\n", errors)
    generate(*words, 0.3, "--overwrite")
    assert soundfile.info(tmp_path / "a" / "model_seed0_t1_0.wav").frames == 4800
    generate(model, "--n_seqs", 1, "--out", tmp_path / "b", "--seconds", 0.3)
    assert sounds(tmp_path / "a") == sounds(tmp_path / "b")


def test_other_settings_under_the_same_name_are_refused(model, tmp_path, generate, interrupted):
    words = ("--seconds", 0.5, "--out", tmp_path / "a")
    undo = interrupted(2, KeyboardInterrupt())
    generate(model, *words, "--n_seqs", 2, code=130)
    undo()
    _, errors = generate(model, *words, "--n_seqs", 3, code=2)
    folder = tmp_path / "a" / ".model_seed0_t1.part"
    assert errors == (
        f"samplernn: The unfinished generation in {folder} is of another model or other settings; "
        "give --overwrite, which begins anew.\n"
    )
    other = save(tmp_path / "model.npz", SampleLevel_L2_b=lambda b: np.add(b, 1, out=b))
    assert "is of another model" in generate(other, *words, "--n_seqs", 2, code=2)[1]
    assert "Going on" not in generate(model, *words, "--n_seqs", 3, "--overwrite")[1]
    generate(model, "--seconds", 0.5, "--n_seqs", 3, "--out", tmp_path / "b")
    assert sounds(tmp_path / "a") == sounds(tmp_path / "b") and not folder.exists()


def test_a_prime_that_has_changed_is_another_one(model, primes, tmp_path, generate, interrupted):
    (tmp_path / "a.wav").write_bytes((primes / "talk.wav").read_bytes())
    words = (model, "--seconds", 0.5, "--prime", tmp_path / "a.wav", "--n_seqs", 1, "--out", tmp_path / "a")
    undo = interrupted(2, KeyboardInterrupt())
    generate(*words, code=130)
    undo()
    soundfile.write(tmp_path / "a.wav", soundfile.read(tmp_path / "a.wav")[0][::-1], 16000)
    assert "is of another model or other settings" in generate(*words, code=2)[1]


def test_what_a_killed_process_was_writing_is_removed(model, tmp_path, generate):
    ours = [".model_seed0_t1_0.77.part.wav", ".model_seed0_t1.78.part.json"]
    others = [".model_seed1_t1_0.77.part.wav", ".index.77.part.html", ".mine.part.wav"]
    for name in (*ours, *others):
        (tmp_path / name).write_text("half")
    generate(model, "--seconds", 0.05, "--n_seqs", 1, "--out", tmp_path)
    assert sorted(p.name for p in tmp_path.glob(".*")) == sorted(others)


@pytest.mark.parametrize("begun", [False, True])
def test_two_processes_do_not_work_on_the_same(model, tmp_path, generate, interrupted, begun):
    words = (model, "--seconds", 0.3, "--n_seqs", 1, "--out", tmp_path)
    folder = tmp_path / ".model_seed0_t1.part"
    if begun:
        undo = interrupted(1, KeyboardInterrupt())
        generate(*words, code=130)
        undo()
    with files.locked(folder):
        (folder / "kept").touch()
        for more in ([], ["--overwrite"]):
            _, errors = generate(*words, *more, code=2)
            assert errors == f"samplernn: Another process works in {folder}; wait for it to end.\n"
        assert (folder / "kept").exists() and partial.is_begun(folder) == begun
    generate(*words)
    assert not folder.exists()


def test_a_second_generation_like_the_originals_goes_on_when_the_first_is_done(
    model, tmp_path, generate, monkeypatch
):
    words = (model, "--like-original", "--generations", 2, "--n_seqs", 2, "--seconds", 0.2, "--out")
    generate(*words, tmp_path / "whole")
    prepare = producing.generation.prepare

    def second_fails(saved_model, request, progress):
        generator = prepare(saved_model, request, progress)
        if request.generation == 1:
            return generator

        def run(*_):
            raise KeyboardInterrupt

        return replace(generator, engine=replace(generator.engine, run=run))

    with monkeypatch.context() as context:
        context.setattr(producing.generation, "prepare", second_fails)
        generate(*words, tmp_path / "a", code=130)
    first = tmp_path / "a" / "model_like-original_g1_0.wav"
    written = first.stat().st_mtime_ns
    generate(*words, tmp_path / "a")
    assert sounds(tmp_path / "a") == sounds(tmp_path / "whole") and len(sounds(tmp_path / "a")) == 4
    assert first.stat().st_mtime_ns == written
    assert "is there already" in generate(*words, tmp_path / "a", code=2)[1]


def test_a_terminated_process_is_gone_on_from(model, tmp_path, generate):
    words = [str(model), "--seconds", "30", "--n_seqs", "2", "--out"]
    whole = tmp_path / "whole"
    part = tmp_path / "a" / ".model_seed0_t1.part" / "samples"
    command = [sys.executable, "-m", "samplernn_theano", "generate", *words, str(tmp_path / "a")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (part.exists() and part.stat().st_size > 20_000):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in errors
    assert "Stopped; the same command goes on from here." in errors
    assert "Going on after" in generate(*words, tmp_path / "a")[1]
    generate(*words, whole)
    assert sounds(tmp_path / "a") == sounds(whole)


# --- standard output ----------------------------------------------------------------------------------------


def piped(*words, then: str) -> tuple[bytes, str, list[str]]:
    """A pipe of the command into another one: its standard output, standard error and exit codes."""
    line = f'"$@" | {then}; echo "${{PIPESTATUS[@]}}" >&2'
    command = [sys.executable, "-m", "samplernn_theano", "generate", *map(str, words), "--out", "-"]
    done = subprocess.run(["bash", "-c", line, "bash", *command], capture_output=True, timeout=120)
    errors, codes = done.stderr.decode().rstrip("\n").rsplit("\n", 1)
    return done.stdout, errors, codes.split()


def test_raw_sound_goes_to_standard_output(model, primes, capfdbinary, quick):
    def raw(*words) -> tuple[np.ndarray, bytes]:
        assert main(["generate", str(model), "--seconds", "0.3", "--out", "-", *map(str, words)]) == 0
        out, errors = capfdbinary.readouterr()
        return np.frombuffer(out, "<i2"), errors

    x, errors = raw()
    assert errors == f"{model}: three_tier, hyper-parameters of the checkpoint\n".encode()
    amplitudes = np.concatenate(list(samplernn_theano.generate(model, 0.3)), axis=1)[0]
    filtered = lfilter([1, -1], [1, -(1 - 2 * np.pi * 5 / 16000)], amplitudes)
    np.testing.assert_allclose(x, 0.45 * 32768 * filtered, atol=0.51)
    assert len(x) == 4800 and abs(x[1600:].mean()) < 300 and np.ptp(x) > 10_000
    with_prime, _ = raw("--prime", primes / "talk.wav")
    without, _ = raw("--prime", primes / "talk.wav", "--without-prime")
    assert (len(with_prime), len(without)) == (4900, 4800)
    assert np.corrcoef(with_prime[100:], without)[0, 1] > 0.99


def test_a_player_that_ends_is_no_error(model):
    out, errors, codes = piped(model, "--seconds", 600, then="head -c 1000")
    assert len(out) == 1000 and codes == ["0", "0"]
    assert errors == f"{model}: three_tier, hyper-parameters of the checkpoint"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--n_seqs 2", "--out - is for one sequence; give --n_seqs 1"),
        ("--like-original", "--out - is for one sequence"),
        ("--prime a.wav --prime b.wav", "names 2 recordings for 1 sequences"),
        ("--format flac", "raw 16-bit PCM alone; leave out --format, --float, --beside and --rank"),
        ("--float", "raw 16-bit PCM alone"),
        ("--rank", "raw 16-bit PCM alone"),
    ],
)
def test_what_does_not_go_to_standard_output_is_refused(model, generate, words, told):
    said, errors = generate(model, "--out", "-", *words.split(), code=2)
    assert said == "" and told in errors


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_sound(model, tmp_path):
    """The whole command, as a process: pictures and all."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print('MiB', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )

    def peak(seconds: int) -> int:
        words = ["generate", model, "--seconds", seconds, "--n_seqs", 1, "--seed", seconds, "--out", tmp_path]
        command = [sys.executable, "-c", code, sys.executable, "-m", "samplernn_theano", *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    short, long, longer = peak(10), peak(300), peak(1200)
    print("MiB at most:", short, long, longer)
    assert long < short + 60 and longer < long + 20 and longer < 500


def test_the_record_is_json(model, tmp_path, generate):
    generate(model, "--seconds", 0.05, "--n_seqs", 1, "--out", tmp_path)
    record = json.loads((tmp_path / "model_seed0_t1.json").read_text())
    assert (
        record["checkpoint"].startswith(f"{model} (")
        and record["sounds"][0]["file"] == "model_seed0_t1_0.wav"
    )


def test_a_model_whose_numbers_overflow_is_refused_in_a_sentence(tmp_path, generate):
    """Its parameters are finite, and so are its states, which hear nothing of the logits."""
    path = save(tmp_path / "huge.npz", SampleLevel_L3_g0=lambda g: g.fill(1e38))
    errors = generate(path, "--seconds", 0.1, "--n_seqs", 1, "--out", tmp_path / "out", code=2)[1]
    assert "numbers that are not finite" in errors


def test_a_shorter_command_does_not_drop_what_was_generated(model, tmp_path, generate, interrupted):
    words = (model, "--n_seqs", 1, "--out", tmp_path)
    go_on = interrupted(8, KeyboardInterrupt())
    generate(*words, "--seconds", 2, code=130)
    go_on()
    assert "give --seconds 1 or more, or --overwrite" in generate(*words, "--seconds", 0.1, code=2)[1]
    assert "Going on after 0.8 s" in generate(*words, "--seconds", 2)[1]
