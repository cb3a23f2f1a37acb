"""Progress of a generation, and notes on its primes."""

from samplernn_theano.generation import progress
from tests.generation.conftest import WAVENET, save


class Bar:
    """A progress bar that records its updates."""

    total = 32_000

    def __init__(self) -> None:
        self.n, self.postfix = 0, ""

    def update(self, n: int) -> None:
        self.n += n

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        self.postfix = text


def test_the_speed_leaves_out_the_first_block(monkeypatch):
    times = iter([100.0, 102.0, 103.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(times))
    bar = Bar()
    on_progress = progress.progress_callback(bar, 3)
    positions, speeds = [], []
    for position in (4000, 20_000, 36_000):
        on_progress(position)
        positions.append(bar.n)
        speeds.append(bar.postfix)
    assert positions == [4000, 20_000, 32_000]  # not beyond the total
    assert speeds == ["", "1.50 x real time", "2.00 x real time"]


def test_a_prime_shorter_than_the_receptive_field_is_reported(primes, tmp_path, generate):
    path = save(tmp_path / "wavenet.npz", WAVENET)
    arguments = ["--prime", primes / "short.wav", "--prime", primes / "talk.wav"]
    printed, _ = generate(path, *arguments, "--seconds", 0.005, "--n_seqs", 2, "--out", tmp_path / "out")
    context = f"short.wav has 3 samples, the context of the model is {WAVENET.overlap}"
    assert f"{context}: it is padded with silence" in printed
    assert printed.count("the context of") == 1
