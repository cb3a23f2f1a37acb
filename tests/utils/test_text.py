"""JSON of others is parsed, or is a ValueError."""

import pytest

from samplernn_theano.utils.text import parse_json


@pytest.mark.parametrize(
    "text", ["", "[", "[" * 10**5, "1" + "0" * 400, '{"rate": -1' + "0" * 5000 + "}", b"\xff"]
)
def test_json_that_is_damaged_nested_too_deeply_or_of_a_huge_number(text):
    with pytest.raises(ValueError, match="."):
        parse_json(text)


def test_numbers_of_128_bits_are_parsed():
    assert parse_json(str(-(2**127))) == -(2**127)
