"""Writing a generation: files and names, rank, primes, existing files, interruptions, standard output."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

import samplernn_theano
from samplernn_theano.checkpoints import load
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import ThreeTier
from samplernn_theano.data import quantization
from samplernn_theano.errors import OutputError
from samplernn_theano.evaluation import nll
from samplernn_theano.generation import encoders, gallery, partial, write
from samplernn_theano.generation import generate as generate_module
from samplernn_theano.generation.amplitudes import amplitudes
from samplernn_theano.generation.generator import take
from samplernn_theano.generation.request import Request
from samplernn_theano.utils import files
from tests.generation.conftest import affine, names, save, sounds
from tests.generation.test_partial import HP, REAL

# --- files --------------------------------------------------------------------------------------------------


def test_sound_files_a_figure_a_record_and_a_page(model, tmp_path, capsys):
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
    printed, _ = capsys.readouterr()
    assert re.search(r"2 x 0\.25 s of sound in [\d.]+ s .*: [\d,]+ steps/s, [\d.]+ times real time", printed)
    for path in [*out.glob("*.wav"), *out.glob("*.png"), out / "index.html"]:
        assert str(path) in printed
    assert re.search(r"_0\.wav \(peak 0\.90, RMS -\d+\.\d dBFS\)", printed)


def test_the_bytes_are_reproducible_and_do_not_depend_on_the_number_of_sequences(model, tmp_path, generate):
    arguments = (model, "--seconds", 0.2, "--seed", 7, "--out")
    generate(*arguments, tmp_path / "a", "--n_seqs", 3)
    generate(*arguments, tmp_path / "b", "--n_seqs", 3)
    generate(*arguments, tmp_path / "c", "--n_seqs", 1)
    a, b, c = (sounds(tmp_path / name) for name in "abc")
    assert a == b and len({content for content in a.values()}) == 3
    assert c["model_seed7_t1_0.wav"] == a["model_seed7_t1_0.wav"] and len(c) == 1


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS")])
def test_the_metadata_of_a_file(model, tmp_path, generate, suffix, subtype):
    arguments = ["--seconds", 0.1, "--n_seqs", 2, "--seed", 3, "--temperature", 0.8, 1.2, "--top-p", 0.95]
    generate(model, *arguments, "--silence", "0.05:0.06", "--format", suffix, "--out", tmp_path)
    (path,) = tmp_path.glob(f"*_1.{suffix}")
    with soundfile.SoundFile(path) as file:
        assert file.title == path.stem and file.software.startswith("samplernn-theano")
        assert file.subtype == subtype and len(file.read()) == 1600
        before, comment = file.comment.split(" (three_tier), ")
    assert before.startswith(f"sequence 1 of 0.1 s from {model} (")
    assert comment == (
        "seed 3, temperature 1.2, top-p 0.95, silence from 0.05 to 0.06 s, computed by kernels"
    )


def test_float_files_hold_the_same_sound_unrounded(model, tmp_path, generate):
    paths = [tmp_path / folder / "model_seed0_t1_0.wav" for folder in "ab"]
    generate(model, "--seconds", 0.2, "--n_seqs", 1, "--out", tmp_path / "a")
    generate(model, "--seconds", 0.2, "--n_seqs", 1, "--float", "--out", tmp_path / "b")
    x, y = (soundfile.read(path)[0] for path in paths)
    assert soundfile.info(paths[1]).subtype == "FLOAT" and 0 < np.abs(x - y).max() <= 0.5 / 32768


def test_a_constant_sequence_becomes_silence(tmp_path, generate):
    def constant(bias):
        bias[7] = 1000

    path = save(tmp_path / "model.npz", SampleLevel_Output_b=constant)
    printed, _ = generate(path, "--seconds", 0.1, "--n_seqs", 1, "--out", tmp_path / "out")
    assert "(silent)" in printed
    assert not soundfile.read(tmp_path / "out" / "model_seed0_t1_0.wav")[0].any()


def test_names_contain_the_settings_that_are_not_defaults(model, primes, tmp_path, generate):
    arguments = ["--seconds", 0.05, "--n_seqs", 2, "--seed", 3, "--temperature", 0.8, 1.25, "--top-p", 0.95]
    arguments += ["--silence", "0.01:0.02", "--prime", primes / "talk.wav", "--prime", primes / "song.flac"]
    generate(model, *arguments, "--out", tmp_path / "a")
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


def test_the_default_folder_is_in_the_run_and_names_contain_it(model, primes, tmp_path, generate):
    """Of a recording with a long name its beginning; the sound may have a single sample."""
    folder, long = tmp_path / "mine" / "checkpoints", tmp_path / f"{'x' * 240}.wav"
    folder.mkdir(parents=True)
    long.write_bytes((primes / "talk.wav").read_bytes())
    for name in ("best", "last"):
        (folder / f"{name}.npz").write_bytes(model.read_bytes())
    generate(tmp_path / "mine", "--seconds", 1e-9, "--n_seqs", 1)
    generate(folder / "last.npz", "--seconds", 0.01, "--n_seqs", 1, "--prime", long)
    found = sorted((tmp_path / "mine" / "samples").glob("*.wav"))
    after = f"mine_last_seed0_t1_after-{'x' * 40}_0.wav"
    assert [path.name for path in found] == ["mine_best_seed0_t1_0.wav", after]
    assert soundfile.info(found[0]).frames == 1


@pytest.mark.parametrize("hp", [HP, REAL], ids=lambda hp: hp.family)
def test_rank_scores_the_generated_sequences(hp, tmp_path, generate, monkeypatch):
    monkeypatch.setattr(nll, "CHUNK", 64)
    path = save(tmp_path / "model.npz", hp)
    printed, _ = generate(path, "--seconds", 0.01, "--n_seqs", 3, "--rank", "--out", tmp_path / "out")
    (record,) = gallery.read_records(tmp_path / "out")
    model = load.read(path)
    scorer = nll.compile_scorer(model, for_recordings=True)
    raw = take(generate_module.prepare_generator(model, Request(n_seqs=3)), 160)
    expected = [nll.score_recording(scorer, x, raw=True).bits for x in raw]
    assert [sound.nll_bits for sound in record.sounds] == pytest.approx(expected, rel=1e-6)
    message = [float(bits) for bits in re.findall(r"([-\d.]+) bits per sample", printed)]
    assert message == pytest.approx(sorted(expected), abs=1e-4) and len(set(message)) == 3
    best = record.sounds[int(np.argmin(expected))].file
    assert best in next(line for line in printed.splitlines() if "bits" in line)


def test_rank_leaves_out_what_is_nearly_silent_and_says_so(tmp_path, generate):
    """Cold sequences stay at one level, which costs nothing."""

    def peaked(bias):
        bias[7] = 30

    path, out = save(tmp_path / "model.npz", SampleLevel_Output_b=peaked), tmp_path / "out"
    arguments = ["--seconds", 0.02, "--n_seqs", 4, "--temperature", 0.01, 40, 0.01, 50, "--out", out]
    printed, _ = generate(path, *arguments, "--rank")
    (record,) = gallery.read_records(out)
    assert [sound.near_silent for sound in record.sounds] == [True, False, True, False]
    assert [sound.nll_bits is None for sound in record.sounds] == [True, False, True, False]
    listed = [line for line in printed.splitlines() if line.startswith(str(out)) and ".wav" in line]
    assert ["bits per sample" in line for line in listed] == [True, True, False, False]
    assert "2 of 4 sequences are below -40 dBFS for at least three quarters of the time" in printed
    assert "not ranked" not in generate(path, *arguments, "--overwrite")[0]


@pytest.mark.parametrize(
    ("loud", "near_silent"), [((0, 100), True), ((0, 300), False), ((300, 900), False), ((0, 0), True)]
)
def test_silence_with_a_click_is_nearly_silent_and_sound_with_pauses_is_not(loud, near_silent):
    levels = np.full(1000, 131)
    levels[slice(*loud)] = np.random.default_rng(0).integers(0, 256, loud[1] - loud[0])
    assert write.is_near_silent(levels, ThreeTier()) == near_silent


def test_what_was_nearly_silent_is_told_with_its_level():
    sound = gallery.Sound(file="a.wav", peak=0.9, rms_dbfs=-20, seconds=1, near_silent=True)
    assert sound.level == "peak 0.90, RMS -20.0 dBFS, nearly silent before it was amplified"


def test_a_part_of_a_recording_is_named_in_files_record_and_page(model, primes, tmp_path, generate):
    prime = f"{primes / 'talk.wav'}:0.001:0.005"
    generate(model, "--seconds", 0.01, "--n_seqs", 1, "--prime", prime, "--out", tmp_path)
    path = tmp_path / "model_seed0_t1_after-talk_0.001-0.005_0.wav"
    assert soundfile.info(path).frames == 64 + 160
    (record,) = gallery.read_records(tmp_path)
    assert record.primes == ("after talk.wav from 0.001 to 0.005 s",)
    assert "after talk.wav from 0.001 to 0.005 s" in (tmp_path / "index.html").read_text()


def test_a_prime_is_written_first_unless_disabled(model, primes, tmp_path, generate):
    arguments = (model, "--seconds", 0.1, "--n_seqs", 1, "--prime", primes / "talk.wav", "--float", "--out")
    generate(*arguments, tmp_path / "with")
    generate(*arguments, tmp_path / "without", "--without-prime")
    name = "model_seed0_t1_after-talk_0.wav"
    whole, alone = (soundfile.read(tmp_path / folder / name)[0] for folder in ("with", "without"))
    assert (len(whole), len(alone)) == (1700, 1600)
    prime, _ = soundfile.read(primes / "talk.wav")
    levels = quantization.quantize(prime[None], HP.q_levels, HP.q_type)[0]
    assert affine(amplitudes(levels, HP), whole[:100]) < 1e-6
    assert affine(alone, whole[100:]) < 1e-6
    plain = np.concatenate(list(samplernn_theano.generate(model, 0.1)), axis=1)[0]
    assert affine(plain, alone) > 0.1  # it was read


def test_sequences_cycle_through_primes_of_any_rate_and_length(model, primes, tmp_path, generate):
    arguments = ["--prime", primes / "stereo.wav", "--prime", primes / "song.flac", "--seconds", 0.05]
    out, _ = generate(model, *arguments, "--n_seqs", 3, "--out", tmp_path)
    assert f"{primes / 'stereo.wav'}: 44,100 Hz resampled to 16,000 Hz" in out
    assert "song.flac:" not in out
    lengths = {path.name: soundfile.info(path).frames for path in tmp_path.glob("*.wav")}
    assert lengths == {
        "model_seed0_t1_after-stereo_0.wav": 160 + 800,
        "model_seed0_t1_after-song_1.wav": 64 + 800,
        "model_seed0_t1_after-stereo_2.wav": 160 + 800,
    }


def test_existing_files_are_kept_without_overwrite(model, tmp_path, generate):
    arguments = (model, "--seconds", 0.05, "--n_seqs", 2, "--out", tmp_path)
    generate(*arguments)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    out, errors = generate(*arguments, code=2)
    message = tmp_path / "model_seed0_t1_0.wav"
    assert errors == f"samplernn: {message} already exists; give --overwrite, or another --seed or --out.\n"
    # The sounds have other names, but the record has the same.
    assert "already exists" in generate(*arguments, "--n_seqs", 12, code=2)[1]
    assert "already exists" in generate(*arguments, "--format", "flac", code=2)[1]
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    generate(*arguments, "--seed", 1)
    (tmp_path / "model_seed0_t1_1.wav").write_bytes(b"broken")
    generate(*arguments, "--overwrite")
    after = sounds(tmp_path)
    assert len(after) == 4 and all(after[name] == before[name] for name in before if name.endswith(".wav"))


def test_files_of_a_replaced_generation_are_removed(model, tmp_path, generate):
    arguments = (model, "--seconds", 0.05, "--out", tmp_path)
    generate(*arguments, "--n_seqs", 3, "--seed", 1)
    generate(*arguments, "--n_seqs", 12)
    generate(*arguments, "--n_seqs", 2, "--overwrite")
    assert [name.removesuffix(".wav") for name in sounds(tmp_path)] == [
        *("model_seed0_t1_0", "model_seed0_t1_1"),
        *("model_seed1_t1_0", "model_seed1_t1_1", "model_seed1_t1_2"),
    ]


@pytest.mark.parametrize("folder", ["file", "file/in", "/proc/nowhere"])
def test_an_unwritable_folder_fails_early(model, tmp_path, generate, monkeypatch, folder):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(generate_module, "prepare_generator", lambda *_: pytest.fail("it was compiled"))
    _, errors = generate(model, "--seconds", 0.05, "--out", tmp_path / folder, code=2)
    assert re.fullmatch(
        r"samplernn: (.* is a file; choose|Could not write|Not allowed to write) .*\n", errors
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_while_sounds_are_written(model, tmp_path, generate, monkeypatch):
    """The sounds are not generated again when there is space."""
    arguments = (model, "--seconds", 0.2, "--n_seqs", 2, "--out", tmp_path)
    write_file = encoders.write

    def full(path, *arguments):
        if path.stem.endswith("1"):
            raise OutputError(files.write_error_message(path, OSError(28, "No space left on device")))
        write_file(path, *arguments)

    with monkeypatch.context() as context:
        context.setattr(encoders, "write", full)
        assert "No disk space left while writing" in generate(*arguments, code=2)[1]
    out, errors = generate(*arguments)
    assert "Resuming after 0.2 s." in errors and "2 x 0.00 s of sound in" in out
    assert len(sounds(tmp_path)) == 2


def test_a_figure_that_fails_costs_no_sound(model, tmp_path, generate, monkeypatch):
    figure = tmp_path / "model_seed0_t1_spectrograms.png"
    figure.touch()

    def fail(*_):
        raise ValueError("no figure")

    monkeypatch.setattr(write, "_draw", fail)
    out, _ = generate(model, "--seconds", 0.01, "--n_seqs", 2, "--out", tmp_path)
    assert f"Warning: {figure} was not drawn (ValueError: no figure)." in out
    assert len(sounds(tmp_path)) == 2 and (tmp_path / "index.html").exists()
    assert not figure.exists() and out.count(figure.name) == 1


def test_another_page_is_kept(model, tmp_path, generate):
    (tmp_path / "index.html").write_text("mine")
    _, errors = generate(model, "--seconds", 0.05, "--n_seqs", 1, "--out", tmp_path, code=2)
    assert "index.html is a page that samplernn did not make; move it" in errors
    assert (tmp_path / "index.html").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_an_interrupted_command_resumes_and_reports_it(model, primes, tmp_path, generate, interrupt):
    arguments = (model, "--seconds", 0.5, "--n_seqs", 3, "--prime", primes / "talk.wav", "--out")
    generate(*arguments, tmp_path / "whole")
    errors = interrupt(2, *arguments, tmp_path / "a")
    assert "Interrupted; run the same command again to resume." in errors
    assert not names(tmp_path / "a")  # only hidden files
    out, errors = generate(*arguments, tmp_path / "a")
    assert "Resuming after 0.2 s." in errors and "3 x 0.30 s of sound in" in out
    assert sounds(tmp_path / "a") == sounds(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(names(tmp_path / "whole"))


def test_a_length_below_that_of_the_unfinished_generation_is_rejected(model, tmp_path, generate, interrupt):
    arguments = (model, "--n_seqs", 1, "--out", tmp_path / "a", "--seconds")
    generate(*arguments, 0.1)
    interrupt(5, *arguments, 0.9, "--overwrite")
    assert soundfile.info(tmp_path / "a" / "model_seed0_t1_0.wav").frames == 1600  # kept until it is replaced
    _, errors = generate(*arguments, 0.3, code=2)
    assert re.fullmatch(r"samplernn: .* has 0\.5 s .*give --seconds 1 or more, or --overwrite.*\n", errors)
    generate(*arguments, 0.3, "--overwrite")
    assert soundfile.info(tmp_path / "a" / "model_seed0_t1_0.wav").frames == 4800
    generate(model, "--n_seqs", 1, "--out", tmp_path / "b", "--seconds", 0.3)
    assert sounds(tmp_path / "a") == sounds(tmp_path / "b")


def test_other_settings_under_the_same_name_are_rejected(model, tmp_path, generate, interrupt):
    arguments = ("--seconds", 0.5, "--out", tmp_path / "a")
    interrupt(2, model, *arguments, "--n_seqs", 2)
    _, errors = generate(model, *arguments, "--n_seqs", 3, code=2)
    folder = tmp_path / "a" / ".model_seed0_t1.part"
    assert errors == (
        f"samplernn: The unfinished generation in {folder} is of another model or other settings; "
        "give --overwrite to start again.\n"
    )
    other = save(tmp_path / "model.npz", SampleLevel_L2_b=lambda b: np.add(b, 1, out=b))
    assert "is of another model" in generate(other, *arguments, "--n_seqs", 2, code=2)[1]
    assert "Resuming" not in generate(model, *arguments, "--n_seqs", 3, "--overwrite")[1]
    generate(model, "--seconds", 0.5, "--n_seqs", 3, "--out", tmp_path / "b")
    assert sounds(tmp_path / "a") == sounds(tmp_path / "b") and not folder.exists()


def test_a_modified_prime_is_another_request_and_two_processes_cannot_write_the_same(
    model, primes, tmp_path, generate, interrupt, monkeypatch
):
    (tmp_path / "a.wav").write_bytes((primes / "talk.wav").read_bytes())
    arguments = (model, "--seconds", 0.5, "--n_seqs", 1, "--prime", tmp_path / "a.wav", "--out", tmp_path)
    folder = tmp_path / ".model_seed0_t1_after-a.part"
    interrupt(2, *arguments)
    soundfile.write(tmp_path / "a.wav", soundfile.read(tmp_path / "a.wav")[0][::-1], 16000)
    assert "is of another model or other settings" in generate(*arguments, code=2)[1]
    with files.locked(folder):
        _, errors = generate(*arguments, "--overwrite", code=2)
        assert errors == f"samplernn: Another process works in {folder}; wait for it to end.\n"
        assert partial.is_unfinished(folder)
    generate(*arguments, "--overwrite")
    assert not folder.exists()

    def replace(source, target, replace=os.replace):
        replace(source, target)
        if source == folder:  # another process begins at once
            files.write_text(folder / files.LOCK, "theirs")

    monkeypatch.setattr(os, "replace", replace)
    generate(*arguments, "--overwrite")
    assert (folder / files.LOCK).read_text() == "theirs"


def test_raw_pcm_on_standard_output(model, primes, capfdbinary, quick):
    def raw(*arguments) -> tuple[np.ndarray, bytes]:
        assert main(["generate", str(model), "--seconds", "0.3", "--out", "-", *map(str, arguments)]) == 0
        out, errors = capfdbinary.readouterr()
        return np.frombuffer(out, "<i2"), errors

    x, errors = raw()
    assert errors == f"{model}: three_tier, hyper-parameters of the checkpoint\n".encode()
    generated = np.concatenate(list(samplernn_theano.generate(model, 0.3)), axis=1)[0]
    filtered = lfilter([1, -1], [1, -(1 - 2 * np.pi * 5 / 16000)], generated)
    np.testing.assert_allclose(x, 0.45 * 32768 * filtered, atol=0.51)
    assert len(x) == 4800 and abs(x[1600:].mean()) < 300 and np.ptp(x) > 10_000
    with_prime, _ = raw("--prime", primes / "talk.wav")
    without, _ = raw("--prime", primes / "talk.wav", "--without-prime")
    assert (len(with_prime), len(without)) == (4900, 4800)
    assert np.corrcoef(with_prime[100:], without)[0, 1] > 0.99


def test_a_closed_pipe_is_not_an_error(model):
    line = f"{sys.executable} -m samplernn_theano generate {model} --seconds 600 --out - | head -c 1000"
    line += '; echo "${PIPESTATUS[@]}" >&2'
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=120)
    assert len(done.stdout) == 1000
    assert done.stderr.decode() == f"{model}: three_tier, hyper-parameters of the checkpoint\n0 0\n"


@pytest.mark.parametrize(
    ("shell", "reason"), [(">&-", "it is closed"), (">/dev/full", "No space left on dev")]
)
def test_raw_pcm_that_cannot_be_written_is_an_error(model, shell, reason):
    line = f"{sys.executable} -m samplernn_theano generate {model} --seconds 0.01 --out - {shell}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=120)
    assert done.returncode == 2 and f"could not be written: {reason}" in done.stderr.decode()
