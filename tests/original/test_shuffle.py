"""Python 2's shuffle against orders that Python 2.7 and NumPy 1.11 made of 0, 1, ..., N - 1."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from samplernn_theano.original import shuffle

FEEDERS = Path(__file__).parents[1] / "golden" / "feeders"
ORDERS = json.loads((FEEDERS / "shuffle_orders.json").read_text())
DATA_SETS = np.load(FEEDERS / "npy2_shuffle.npz")


def shuffled(n: int, **seed: int) -> list[int]:
    items = list(range(n))
    shuffle.shuffle(items, **seed)
    return items


@pytest.mark.parametrize("n", sorted(int(name[5:]) for name in ORDERS if name.startswith("list_")))
def test_order_is_that_of_python_2(n):
    assert shuffled(n) == ORDERS[f"list_{n}"]


@pytest.mark.parametrize("n", [100, 4340])
def test_order_is_that_of_the_authors_data_sets(n):
    """Their script names the clips p0, p1, ..., sorts the names as text, and shuffles them."""
    assert shuffled(n) == DATA_SETS[f"perm_{n}"].tolist()
    names = sorted(range(n), key=lambda k: f"p{k}.flac")
    assert [names[i] for i in shuffled(n)] == DATA_SETS[f"file_number_order_{n}"].tolist()


def test_random_numbers_elsewhere_are_left_alone():
    before = random.getstate()
    shuffled(10)
    assert random.getstate() == before
