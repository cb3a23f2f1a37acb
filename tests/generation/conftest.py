"""Fixtures that run `samplernn generate` on small models."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_theano.checkpoints import npz
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.evaluation import nll
from samplernn_theano.generation import gallery, partial, priming, samplers, write
from tests.generation.test_partial import HP
from tests.generation.test_samplers import interpreted, parameters

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
    """A folder of recordings to continue."""
    folder, rng = tmp_path_factory.mktemp("primes"), np.random.default_rng(0)
    soundfile.write(folder / "talk.wav", rng.uniform(-0.5, 0.5, 100), 16000)
    soundfile.write(folder / "song.flac", rng.uniform(-0.5, 0.5, 64), 16000)
    soundfile.write(folder / "stereo.wav", rng.uniform(-0.5, 0.5, (441, 2)), 44100)
    soundfile.write(folder / "empty.wav", [], 16000)
    soundfile.write(folder / "constant.wav", np.full(100, 0.25), 16000)
    soundfile.write(folder / "nan.wav", [0.1, np.nan], 16000, subtype="FLOAT")
    (folder / "text.wav").write_text("text")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Small graphs that are not compiled, no figures, no fsync."""
    for module in (samplers, priming, nll):
        monkeypatch.setattr(module, "compile_function", interpreted)
    monkeypatch.setattr(samplers, "GRAPH_BLOCK", 40)
    monkeypatch.setattr(write, "_draw", lambda figure, *_: figure.touch())
    monkeypatch.setattr(gallery, "draw_thumbnail", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def generate(capsys, quick):
    """Run the command and check its exit code; return standard output and standard error."""

    def run(*arguments, code: int = 0) -> tuple[str, str]:
        ended = main(["generate", *map(str, arguments)])
        out, errors = capsys.readouterr()
        assert ended == code, errors
        assert "Traceback" not in errors
        return out, errors

    return run


@pytest.fixture
def interrupt(generate, monkeypatch):
    """Run the command, and press Ctrl-C in the block with this number, from 1; return standard error."""

    def run(number: int, *arguments) -> str:
        blocks = partial.blocks

        def some(*of_blocks):
            for i, block in enumerate(blocks(*of_blocks), 1):
                if i == number:
                    os.kill(os.getpid(), signal.SIGINT)
                yield block

        with monkeypatch.context() as context:
            context.setattr(partial, "blocks", some)
            return generate(*arguments, code=130)[1]

    return run


def names(folder: Path) -> list[str]:
    """Names of the files that are not hidden."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def sounds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.wav"))}


def affine(x: np.ndarray, y: np.ndarray) -> float:
    """Maximum distance of y from a x + b with the best a > 0 and b."""
    a, b = np.polyfit(x, y, 1)
    assert a > 0
    return float(np.abs(a * x + b - y).max())
