"""Raw PCM on standard output."""

import subprocess
import sys

import numpy as np
from scipy.signal import lfilter

import samplernn_theano
from samplernn_theano.cli.main import main


def piped(*arguments, then: str) -> tuple[bytes, str, list[str]]:
    """Pipe the command into another one; return standard output, standard error and exit codes."""
    line = f'"$@" | {then}; echo "${{PIPESTATUS[@]}}" >&2'
    command = [sys.executable, "-m", "samplernn_theano", "generate", *map(str, arguments), "--out", "-"]
    done = subprocess.run(["bash", "-c", line, "bash", *command], capture_output=True, timeout=120)
    errors, codes = done.stderr.decode().rstrip("\n").rsplit("\n", 1)
    return done.stdout, errors, codes.split()


def test_raw_pcm_on_standard_output(model, primes, capfdbinary, quick):
    def raw(*arguments) -> tuple[np.ndarray, bytes]:
        assert main(["generate", str(model), "--seconds", "0.3", "--out", "-", *map(str, arguments)]) == 0
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


def test_a_closed_pipe_is_not_an_error(model):
    out, errors, codes = piped(model, "--seconds", 600, then="head -c 1000")
    assert len(out) == 1000 and codes == ["0", "0"]
    assert errors == f"{model}: three_tier, hyper-parameters of the checkpoint"
