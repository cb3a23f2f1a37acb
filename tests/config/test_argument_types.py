"""The kinds of values on the command lines."""

import argparse

import pytest

from samplernn_theano.config.argument_types import duration


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("30s", 30),
        ("90m", 5400),
        ("23.5h", 84600),
        ("2d", 172800),
        ("23:30:00", 84600),
        ("100:00:01", 360001),
    ],
)
def test_lengths_of_time(word, seconds):
    assert duration(word) == seconds


@pytest.mark.parametrize("word", ["", "10", "h", "-1h", "1:2:3", "1h30m", "nan", "1e3s", "inf"])
def test_what_is_no_length_of_time(word):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration"):
        duration(word)
