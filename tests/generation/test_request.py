"""Requests: ranges and combinations of settings."""

from pathlib import Path

import pytest

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.generation.request import Request


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_seqs": 0}, "--n_seqs is 0"),
        ({"temperature": (0.0,)}, "--temperature must be a positive number"),
        ({"temperature": (1.0, -0.5), "n_seqs": 2}, "--temperature must be a positive number"),
        ({"temperature": (float("nan"),)}, "--temperature must be"),
        ({"temperature": (float("inf"),)}, "--temperature must be"),
        ({"temperature": (1e-40,)}, "--temperature must be"),  # its inverse overflows float32
        ({"temperature": (1.0, 1.1), "n_seqs": 3}, "has 2 values for 3 sequences"),
        ({"temperature": ()}, "has 0 values for 1 sequences"),
        ({"top_p": 0.0}, "--top-p is 0; it must be above 0 and at most 1"),
        ({"top_p": 1.01}, "--top-p is 1.01"),
        ({"top_p": float("nan")}, "--top-p is nan"),
        ({"primes": (Path("a"), Path("b"))}, "names 2 recordings for 1 sequences; give --n_seqs 2"),
        ({"like_original": True, "temperature": (0.9,)}, "--like-original goes without --temperature"),
        ({"like_original": True, "top_p": 0.9}, "--like-original goes without"),
        ({"like_original": True, "primes": (Path("a"),)}, "--like-original goes without"),
        ({"like_original": True, "seed": 1}, "--like-original goes without"),
    ],
)
def test_invalid_settings_are_rejected(settings, message):
    with pytest.raises(HyperParameterError, match=message):
        Request(**settings)


def test_each_sequence_has_its_temperature():
    request = Request(n_seqs=3, temperature=(0.5, 1.0, 2.0))
    assert [request.temperature_of(i) for i in range(3)] == [0.5, 1.0, 2.0]
    assert Request(n_seqs=3).temperature_of(2) == 1
