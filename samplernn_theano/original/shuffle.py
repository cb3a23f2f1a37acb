"""Python 2's `random.shuffle`, which determines the order of minibatches and data sets in the original."""

import random
from collections.abc import MutableSequence


def shuffle(items: MutableSequence, seed: int = 123) -> None:
    """Shuffle `items` in place as Python 2.7 does after `random.seed(seed)`.

    The generator is the same in Python 3, which draws bits in place of int(random() * (i + 1)).
    """
    generator = random.Random(seed)
    for i in range(len(items) - 1, 0, -1):
        j = int(generator.random() * (i + 1))
        items[i], items[j] = items[j], items[i]
