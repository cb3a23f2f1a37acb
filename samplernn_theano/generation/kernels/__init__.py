"""Generation on the CPU, written by hand for Numba: many times faster than the graph of a block.

``product``      few vectors times a matrix, at memory bandwidth
``weights``      parameters prepared for the loop: normalised, consecutive linear maps multiplied
``sample_loop``  the loop over samples, tier by tier

It computes the same as the graph of `models.build.build_sampler`, which is the reference, and serves GPUs and
the other families. The compiled code is stored in the compile cache (`machine_code`).
"""

from samplernn_theano.config.hyperparameters import KTier, OneTier, ThreeTier, TwoTier

FAMILIES = (ThreeTier, TwoTier, KTier, OneTier)  # those with recurrent tiers and a softmax
