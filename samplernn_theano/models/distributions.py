"""Output distributions: a softmax over levels, or a mixture of Gaussians.

The mixture is that of the paper's table 2 (RNN-GMM and SampleRNN-GMM), of which the paper says only that a
Gaussian mixture replaces the softmax, on real-valued samples normalised by the mean and standard deviation of
the training set. Our reading: the network is that of the quantised model; its last layer has K logits of
weights, K means and K log deviations for each prediction; the cost is the mean NLL per sample. The paper
states neither K nor the unit of its numbers; ours is bits, as everywhere (times ln 2: nats). The formulas:

    log N_k = -0.5 · (log 2π + 2 log σ_k + ((x - μ_k) / σ_k)²),   NLL = -log sum_k exp(log w_k + log N_k)
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import Quantised, RealValued
from samplernn_theano.models import layers

MIN_DEVIATION = 1e-3
"""Of a Gaussian, in standard deviations of the data. Recordings are quantised: without a minimum a Gaussian
could shrink to one step, and the density grow without limit."""


def width(hp: Quantised | RealValued) -> int:
    """Number of outputs per prediction: Q logits, or 3 K."""
    return 3 * hp.n_components if isinstance(hp, RealValued) else hp.q_levels


def nll(hp: Quantised | RealValued, outputs: Expression, targets: Expression, mask: Expression) -> Expression:
    """The NLL of every prediction in bits, (...), 0 where masked: outputs (..., width), mask (...)."""
    if isinstance(hp, RealValued):
        return mixture_nll_bits(outputs, targets, hp.n_components) * mask
    return layers.nll_bits(outputs, targets) * mask


def draw(
    hp: Quantised | RealValued,
    outputs: Expression,
    noise: dict[str, Expression],
    inverse_temperature: Expression,
    top_p: float = 1.0,
) -> Expression:
    """Draw samples from the predictions for N sequences, outputs (N, width).

    `noise` has "uniforms" (N,), and for a mixture "normals" (N,). `inverse_temperature` (N,), which is
    1 / temperature of each sequence, multiplies the logits; the deviations of a mixture are multiplied by the
    square root of the temperature (Ha & Eck 2017, A Neural Representation of Sketch Drawings). `top_p` is as
    in `categorical`, and without effect on a mixture.
    """
    if isinstance(hp, RealValued):
        uniforms, normals = noise["uniforms"], noise["normals"]
        return draw_from_mixture(outputs, uniforms, normals, hp.n_components, inverse_temperature)
    return categorical(outputs * inverse_temperature[:, None], noise["uniforms"], top_p)


# --- mixtures of Gaussians ----------------------------------------------------------------------------------


def mixture_nll_bits(outputs: Expression, targets: Expression, n_components: int) -> Expression:
    """-log2 of a mixture's density: outputs (..., 3 K), targets (...); returns (...)."""
    logits, means, log_deviations = _mixture(outputs, n_components)
    scaled = (targets[..., None] - means) * pt.exp(-log_deviations)  # (..., K)
    half, log_2pi = layers.constant(0.5, outputs), layers.constant(np.log(2 * np.pi), outputs)
    log_density = -half * (log_2pi + log_deviations + log_deviations + scaled * scaled)
    log_weights = logits - _logsumexp(logits)[..., None]
    return -_logsumexp(log_density + log_weights) * layers.constant(np.log2(np.e), outputs)


def draw_from_mixture(
    outputs: Expression,
    uniforms: Expression,
    normals: Expression,
    n_components: int,
    inverse_temperature: Expression,
) -> Expression:
    """Draw a component by its weight, then a sample from its Gaussian.

    outputs (N, 3 K), uniforms, normals and inverse_temperature (N,); returns (N,).
    """
    logits, means, log_deviations = _mixture(outputs, n_components)
    component = categorical(logits * inverse_temperature[:, None], uniforms)  # (N,)
    chosen = pt.eq(component[:, None], pt.arange(n_components, dtype="int32"))  # (N, K)
    zero = layers.constant(0, outputs)
    mean, log_deviation = (pt.sum(pt.switch(chosen, x, zero), axis=1) for x in (means, log_deviations))
    return mean + pt.exp(log_deviation) / pt.sqrt(inverse_temperature) * normals


def _mixture(outputs: Expression, n_components: int) -> tuple[Expression, Expression, Expression]:
    """Outputs (..., 3 K) as logits of the weights, means and log deviations, (..., K) each."""
    K = n_components
    log_deviations = pt.maximum(outputs[..., 2 * K :], layers.constant(np.log(MIN_DEVIATION), outputs))
    return outputs[..., :K], outputs[..., K : 2 * K], log_deviations


def _logsumexp(x: Expression) -> Expression:
    largest = pt.max(x, axis=-1)
    return largest + pt.log(pt.sum(pt.exp(x - largest[..., None]), axis=-1))


# --- levels -------------------------------------------------------------------------------------------------


def categorical(logits: Expression, uniforms: Expression, top_p: float = 1.0) -> Expression:
    """Draw from softmax(logits): logits (N, Q), uniforms (N,) in [0, 1); returns int32 (N,).

    The first k whose cumulative float32 probability exceeds the uniform; 0 if none does (as Theano's
    multinomial followed by argmax); -1 where the logits are NaN.

    With `top_p` below 1 only the nucleus is drawn from (Holtzman et al. 2020, The Curious Case of Neural Text
    Degeneration): the fewest most probable levels with a total probability of at least `top_p`, and all as
    probable as the last of them. The uniform is scaled to the probability of the nucleus, so that a level is
    always found.
    """
    probabilities = pt.special.softmax(logits, axis=-1)
    if top_p == 1:
        return _or_invalid(_first_beyond(probabilities, uniforms), probabilities)
    kept = nucleus(probabilities, top_p)
    zero = layers.constant(0, probabilities)
    # Zero again outside: rounding can change the cumulative sum where zero is added.
    sums = pt.switch(kept, pt.cumsum(pt.switch(kept, probabilities, zero), axis=-1), zero)
    beyond = pt.gt(sums, uniforms[:, None] * pt.max(sums, axis=-1, keepdims=True))
    return _or_invalid(pt.argmax(beyond, axis=-1).astype("int32"), probabilities)


def _or_invalid(level: Expression, probabilities: Expression) -> Expression:
    """The level, or -1 where the probabilities are NaN."""
    return pt.switch(pt.isnan(probabilities[:, 0]), np.int32(-1), level)


def nucleus(probabilities: Expression, top_p: float) -> Expression:
    """Mask of the levels in the nucleus: probabilities (N, Q); returns booleans (N, Q).

    A level is in it if all more probable levels together have less than `top_p`. All pairs are compared,
    which is several times faster on jax than sorting.
    """
    others, own = probabilities[:, :, None], probabilities[:, None, :]
    above = pt.sum(pt.switch(pt.gt(others, own), others, layers.constant(0, others)), axis=1)
    return pt.lt(above, layers.constant(top_p, above))


def _first_beyond(probabilities: Expression, uniforms: Expression) -> Expression:
    """The first k at which the cumulative sum of probabilities (N, Q) exceeds the uniform; 0 if none does.

    Many levels are searched in two steps, the block first: the cumulative sum over all of them takes several
    times as long on jax. The two agree up to rounding.
    """
    Q, size = probabilities.type.shape[-1], 16
    u = uniforms[:, None]
    if Q % size or Q <= 4 * size:
        return pt.argmax(pt.gt(pt.cumsum(probabilities, axis=-1), u), axis=-1).astype("int32")
    n_blocks, zero = Q // size, layers.constant(0, probabilities)
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
