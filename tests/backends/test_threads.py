"""The number of threads is set before anything reads it."""

import os
import subprocess
import sys

from samplernn_theano.backends import threads


def test_every_library_is_limited(monkeypatch):
    for name in threads.THREAD_VARIABLES:
        monkeypatch.setenv(name, "7")
    threads.set_limit(3)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"):
        assert os.environ[name] == "3"


def test_the_module_loads_no_library_that_reads_the_variables():
    script = (
        "import sys; from samplernn_theano.backends import threads; threads.set_limit(1); "
        "print({'numpy', 'scipy', 'jax', 'numba', 'pytensor', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
