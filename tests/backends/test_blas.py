"""What `samplernn info` says of the BLAS libraries, and the one that the backend c links."""

import os
import subprocess
import sys

import pytest

from samplernn_theano.backends import blas

AVX2 = {"sse4_2", "avx", "avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"}


@pytest.mark.parametrize(
    ("flags", "core", "remedy"),
    [
        (AVX512, "Haswell", "OPENBLAS_CORETYPE=SkylakeX"),
        (AVX512, "Zen", "OPENBLAS_CORETYPE=SkylakeX"),
        (AVX512, "SkylakeX", ""),
        (AVX512, "Cooperlake", ""),
        (AVX2, "Haswell", ""),
        (AVX2, "Zen", ""),
        (AVX2, "Nehalem", "OPENBLAS_CORETYPE=Haswell"),
        (AVX2 | {"avx512f"}, "Haswell", ""),  # without the rest of AVX-512, SkylakeX's kernels would crash
        ({"sse4_2"}, "Nehalem", ""),
        (set(), "Zen", ""),  # not Linux: nothing is known of the processor
        (AVX512, "", ""),  # an OpenBLAS that does not tell
    ],
)
def test_a_misdetected_processor_is_reported_with_the_fix(flags, core, remedy):
    output = blas.describe_openblas([blas.OpenBLAS("/lib/libopenblas.so.0", "0.3.21", core)], flags)
    assert output.startswith(f"libopenblas.so.0 0.3.21 ({core})")
    assert output.endswith(remedy) and ("OPENBLAS_CORETYPE" in output) == bool(remedy)


def test_every_library_is_named_and_a_remedy_they_share_is_said_once():
    libraries = [blas.OpenBLAS(f"/x/{name}.so", "0.3.30", "Haswell") for name in ("numpys", "scipys")]
    output = blas.describe_openblas(libraries, AVX512)
    assert "numpys.so" in output and "scipys.so" in output and output.count("SkylakeX") == 1
    assert blas.describe_openblas([], AVX512) == "none is loaded"


def test_what_the_processor_can_do_is_read_from_its_first_core(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\nvmx flags\t: ept\n\nflags\t\t: avx512f\n")
    assert blas.cpu_flags(cpuinfo) == {"fpu", "avx2", "fma"}
    assert blas.cpu_flags(tmp_path / "absent") == set()


@pytest.mark.skipif(not blas.cpu_flags() >= blas.AVX2_FLAGS, reason="needs a processor with AVX2")
def test_info_notices_a_library_that_runs_the_wrong_kernels():
    command = [sys.executable, "-m", "samplernn_theano", "info", "--backend", "numba"]
    environment = os.environ | {"OPENBLAS_CORETYPE": "Nehalem"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    if "openblas" not in output:
        pytest.skip("NumPy and SciPy have another BLAS")
    assert "misdetects the processor as a Nehalem" in output and "set OPENBLAS_CORETYPE=" in output


def test_the_users_own_setting_comes_first(monkeypatch):
    monkeypatch.setattr(blas, "_configured_flags", lambda: "-L/opt/lib -lmkl_rt")
    assert blas.linker_flags(blas.loaded()) == "-L/opt/lib -lmkl_rt"
    assert blas.describe_linked([]) == "-L/opt/lib -lmkl_rt"


def test_without_any_blas_the_fix_is_reported(monkeypatch):
    monkeypatch.setattr(blas, "_configured_flags", lambda: "")
    monkeypatch.setattr(blas.ctypes.util, "find_library", lambda name: None)
    assert blas.linker_flags([]) == ""
    output = blas.describe_linked([])
    assert "apt install libopenblas0-pthread" in output and "conda-forge" in output


def test_numpys_library_that_counts_in_64_bits_is_not_linked(monkeypatch):
    monkeypatch.setattr(blas, "_configured_flags", lambda: "")
    monkeypatch.setattr(blas.ctypes.util, "find_library", lambda name: None)
    numpys = [library for library in blas.loaded() if "numpy.libs" in library.path]
    assert blas.linker_flags(numpys) == ""


def test_scipys_library_does_the_products_of_the_backend_c(tmp_path):
    """In a process of its own, because PyTensor keeps what it has compiled."""
    program = f"""
import pathlib, sys, numpy as np, pytensor, pytensor.tensor as pt
from samplernn_theano.backends import blas
flags = blas._bundled_flags(blas.loaded())
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
