"""Names of the files of a generation, and its default folder."""

from samplernn_theano.generation import gallery
from tests.generation.conftest import names


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


def test_the_default_folder_is_in_the_run_and_names_contain_it(model, tmp_path, generate):
    folder = tmp_path / "mine" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("best", "last"):
        (folder / f"{name}.npz").write_bytes(model.read_bytes())
    generate(tmp_path / "mine", "--seconds", 0.01, "--n_seqs", 1)
    generate(folder / "last.npz", "--seconds", 0.01, "--n_seqs", 1)
    found = [path.name for path in (tmp_path / "mine" / "samples").glob("*.wav")]
    assert sorted(found) == ["mine_best_seed0_t1_0.wav", "mine_last_seed0_t1_0.wav"]


def test_long_names_of_recordings_are_truncated(model, primes, tmp_path, generate):
    long = tmp_path / f"{'x' * 240}.wav"
    long.write_bytes((primes / "talk.wav").read_bytes())
    generate(model, "--seconds", 0.01, "--n_seqs", 1, "--prime", long, "--out", tmp_path / "out")
    assert f"model_seed0_t1_after-{'x' * 40}_0.wav" in names(tmp_path / "out")
