"""Generation on the CPU, written by hand for Numba: many times faster than the graph of a block.

``product``      few vectors times a matrix, at memory bandwidth
``weights``      parameters prepared for the loop: normalised, consecutive linear maps multiplied
``sample_loop``  the loop over samples, tier by tier

It computes the same as the graph of `models.build.build_sampler`, which is the reference, and serves GPUs and
the other families.

Numba caches the compiled code next to this file, or in the user's cache, and recompiles only when
sample_loop.py has changed: after a change to another file here, delete __pycache__. The cache cannot be read
after a class in it was renamed: rename `sample_loop.generate_block` too.
"""

from samplernn_theano.config.hyperparameters import KTier, OneTier, ThreeTier, TwoTier

FAMILIES = (ThreeTier, TwoTier, KTier, OneTier)  # those with recurrent tiers and a softmax
