"""Generation on the processor, written by hand for Numba: many times faster than the graph of a block.

``product``  few vectors times a matrix, at the speed at which the matrix can be read
``weights``  parameters as the loop wants them: normalised, multiplied with one another where they can be
``loop``     the loop over samples, tier by tier

It covers the families with recurrent tiers and a softmax (`FAMILIES`), computes what
`samplernn_theano.models.sampler` computes, and is held against it and against the original's samples in the
tests. The graph stays the reference, the way to a GPU, and the generator of the other families.

Numba keeps what it has compiled beside this file, or in the user's cache, and compiles anew when loop.py is
newer: after a change to another file here, delete __pycache__.
"""

from samplernn_theano.config.hyperparameters import KTier, OneTier, ThreeTier, TwoTier

FAMILIES = (ThreeTier, TwoTier, KTier, OneTier)
"""What the loop can generate with."""
