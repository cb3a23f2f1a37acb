"""The BLAS library that the backend c links."""

import os
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

from samplernn_theano.backends import blas


def test_the_users_own_setting_comes_first(monkeypatch):
    monkeypatch.setattr(blas, "configured_flags", lambda: "-L/opt/lib -lmkl_rt")
    assert blas.linker_flags() == "-L/opt/lib -lmkl_rt"
    assert blas.describe() == "-lmkl_rt"


def test_without_any_blas_the_fix_is_reported(monkeypatch):
    monkeypatch.setattr(blas, "configured_flags", lambda: "")
    monkeypatch.setattr(blas.ctypes.util, "find_library", lambda name: None)
    # NumPy's own library counts in 64 bits.
    numpys = [library for library in threadpool_info() if "scipy.libs" not in library["filepath"]]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: numpys)
    assert blas.linker_flags() == ""
    assert "apt install libopenblas0-pthread" in blas.describe() and "conda-forge" in blas.describe()


def test_scipys_library_does_the_products_of_the_backend_c(tmp_path):
    """In a process of its own, because PyTensor keeps what it has compiled."""
    program = f"""
import pathlib, sys, numpy as np, pytensor, pytensor.tensor as pt
from samplernn_theano.backends import blas
flags = blas.bundled_flags()
if not flags:
    sys.exit(3)
x = pt.matrix("x", dtype="float32")
with pytensor.config.change_flags(blas__ldflags=flags):
    f = pytensor.function([x], x @ x.T, mode="CVM")
a = np.random.default_rng(0).normal(size=(7, 5)).astype("float32")
assert np.allclose(f(a), a @ a.T, atol=1e-5)
built = b"".join(p.read_bytes() for p in pathlib.Path("{tmp_path}").rglob("*.so"))
assert b"scipy_sgemm_" in built
"""
    environment = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path},blas__ldflags="}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("SciPy brings no OpenBLAS of its own here")
    assert done.returncode == 0, done.stderr
    assert "dynamic library" not in done.stderr  # PyTensor's warning, once for each operation
