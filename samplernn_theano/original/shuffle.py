"""Python 2's `random.shuffle`, which fixes the order of minibatches and of data sets in the original."""

import random
from collections.abc import MutableSequence


def shuffle(items: MutableSequence, seed: int = 123) -> None:
    """Shuffle `items` in place as Python 2.7 does after `random.seed(seed)`.

    Python 2 picks the partner of position i as int(random() * (i + 1)); Python 3 draws bits instead and so
    gives another order. The generator itself (MT19937, seeded by an integer) is the same in both.
    """
    generator = random.Random(seed)
    for i in range(len(items) - 1, 0, -1):
        j = int(generator.random() * (i + 1))
        items[i], items[j] = items[j], items[i]
