"""Freed memory is kept from step to step for models of middle size, and given back for all others."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from samplernn_theano.backends.malloc import keep_freed_memory

keep_freed_memory(int(sys.argv[1]))

def step():
    return np.ones(2**23, np.float32).sum()  # 32 MiB, freed at once

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's switches")
@pytest.mark.parametrize("numbers, kept", [(2**10, False), (2**21, True), (2**26, False)])
def test_a_step_of_a_model_of_middle_size_finds_its_memory_again(numbers, kept):
    words = [sys.executable, "-c", PROGRAM, str(numbers)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    faults = int(done.stdout)
    # A page fault for each 4 KiB, 82,000 in all, or with huge pages for each 2 MiB, 160; kept, none.
    assert faults < 50 if kept else faults >= 150
