"""Drawing a level from a softmax, for many sequences at once."""

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.ops import constant


def categorical(logits: Expression, uniforms: Expression, top_p: float = 1.0) -> Expression:
    """Draw from softmax(logits): logits (N, Q), uniforms (N,) in [0, 1); returns int32 (N,).

    The first k whose running float32 sum of probabilities exceeds the uniform; 0 where none does (as Theano's
    multinomial followed by argmax); -1 where the logits are no numbers.

    With `top_p` below 1 only the nucleus is drawn from (Holtzman et al. 2020, The Curious Case of Neural Text
    Degeneration): the fewest most probable levels that together have a probability of `top_p` at least, and
    all that are as probable as the least of them. Then the uniform is a part of the nucleus' whole
    probability, so a level is always found.
    """
    probabilities = pt.special.softmax(logits, axis=-1)
    if top_p == 1:
        return _or_none(_first_beyond(probabilities, uniforms), probabilities)
    kept = nucleus(probabilities, top_p)
    zero = constant(0, probabilities)
    # Zero again outside: rounding can move the running sum where nothing is added to it.
    sums = pt.switch(kept, pt.cumsum(pt.switch(kept, probabilities, zero), axis=-1), zero)
    beyond = pt.gt(sums, uniforms[:, None] * pt.max(sums, axis=-1, keepdims=True))
    return _or_none(pt.argmax(beyond, axis=-1).astype("int32"), probabilities)


def _or_none(level: Expression, probabilities: Expression) -> Expression:
    return pt.switch(pt.isnan(probabilities[:, 0]), np.int32(-1), level)


def nucleus(probabilities: Expression, top_p: float) -> Expression:
    """Which levels belong to the nucleus: probabilities (N, Q); returns booleans (N, Q).

    Those for which all more probable ones together have less than `top_p`. Each level is compared with each,
    which is several times faster than to sort them on jax.
    """
    others, own = probabilities[:, :, None], probabilities[:, None, :]
    above = pt.sum(pt.switch(pt.gt(others, own), others, constant(0, others)), axis=1)
    return pt.lt(above, constant(top_p, above))


def _first_beyond(probabilities: Expression, uniforms: Expression) -> Expression:
    """The first k at which the running sum of probabilities (N, Q) exceeds the uniform; 0 where none does.

    Many levels are searched in two steps, the block that holds it first: the running sum over all of them
    takes several times as long on jax. The two agree but for rounding.
    """
    Q, size = probabilities.type.shape[-1], 16
    u = uniforms[:, None]
    if Q % size or Q <= 4 * size:
        return pt.argmax(pt.gt(pt.cumsum(probabilities, axis=-1), u), axis=-1).astype("int32")
    n_blocks, zero = Q // size, constant(0, probabilities)
    blocks = probabilities.reshape((-1, n_blocks, size))
    sums = pt.cumsum(pt.sum(blocks, axis=-1), axis=-1)  # (N, blocks), up to the end of each
    passed = pt.le(sums, u)
    block = pt.sum(passed, axis=-1, dtype="int32")
    before = pt.max(pt.switch(passed, sums, zero), axis=-1, keepdims=True)
    is_it = pt.eq(block[:, None], pt.arange(n_blocks, dtype="int32"))[..., None]
    own = pt.sum(pt.switch(is_it, blocks, zero), axis=1)  # (N, size)
    level = pt.sum(pt.le(before + pt.cumsum(own, axis=-1), u), axis=-1, dtype="int32")
    level = pt.minimum(level, np.int32(size - 1))  # where the two steps round differently
    found = pt.lt(block, np.int32(n_blocks))
    return pt.switch(found, block * np.int32(size) + level, np.int32(0)).astype("int32")
