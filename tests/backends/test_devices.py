"""One batch on several devices: the same costs, one exchange of gradients, the same checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.checkpoints import npz, run_folder
from samplernn_theano.cli.main import main
from samplernn_theano.config.hyperparameters import FAMILIES

FOLDER = Path(__file__).parent
WORDS = "--preset tiny --dim 8 --emb_size 4 --q_levels 16 --seq_len 32 --batch_size 4 --n_seqs 0".split()


def several(n_devices, *words):
    """A program of Python that finds so many devices."""
    flags = f"--xla_force_host_platform_device_count={n_devices} --xla_backend_optimization_level=0"
    flags += " --xla_cpu_collective_call_terminate_timeout_seconds=500"  # on a busy machine
    environment, words = os.environ | {"XLA_FLAGS": flags}, [sys.executable, *map(str, words)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_as_on_one_device(one, other, rtol=5e-6):
    # Sums in another order: 5e-7 was measured over these 50 updates, too few for chaos.
    np.testing.assert_allclose(other["costs"], one["costs"], rtol)
    np.testing.assert_allclose(other["score"], one["score"], rtol)
    assert other["state_shapes"] == one["state_shapes"]
    assert not one["exchanges"]
    # The sum and number of targets, 4 bytes each, and every gradient once.
    assert other["exchanges"] == [["all-reduce", 8], ["all-reduce", other["bytes_moved"]]]


def test_four_devices_train_like_one():
    output = json.loads(several(4, FOLDER / "over_devices.py", "1,4", "one_tier"))
    assert_as_on_one_device(*output["one_tier"])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_on_two_and_four_devices_like_on_one(family):
    one, *others = json.loads(several(4, FOLDER / "over_devices.py", "1,2,4", family))[family]
    for other in others:  # narrow Gaussians enlarge rounding: 2e-5 was measured
        assert_as_on_one_device(one, other, rtol=2e-4 if family == "samplernn_gmm" else 5e-6)


def test_a_run_goes_on_with_another_number_of_devices(data, tmp_path):
    train = ["train", "one_tier", "--data", str(data), *WORDS]
    limits = (["--max-iters", "6"], ["--max-iters", "12"])
    shared, alone = run_folder.Run(tmp_path / "shared"), run_folder.Run(tmp_path / "alone")
    several(2, "-m", "samplernn_theano", *train, "--run", shared.folder, *limits[0], "--devices", 2)
    halfway = npz.load(shared.last)
    assert {name: state.shape for name, state in halfway.states.items()} == {"h0": (4, 1, 8)}
    assert halfway.settings["n_devices"] == 2
    assert main(["resume", str(shared.folder), *limits[1], "--devices", "1"]) == 0
    assert main([*train, "--run", str(alone.folder), *limits[1]]) == 0
    ours, expected = npz.load(shared.last), npz.load(alone.last)
    assert ours.settings["n_devices"] == 1
    for name, array in (expected.parameters | expected.states).items():
        np.testing.assert_allclose((ours.parameters | ours.states)[name], array, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_conformance_on_two_devices(cases):
    words = ("-m", "samplernn_theano", "conformance", cases, "--case", "1t_gru1", "--brief", "--devices", 2)
    output = several(2, *words)
    assert " 0 failed, in 1 cases" in output
