"""What a network's last layer stands for: a softmax over levels, or a mixture of Gaussians.

The mixture is that of the paper's table 2 (RNN-GMM and SampleRNN-GMM), of which the paper says only that a
Gaussian mixture takes the place of the softmax, on real-valued samples normalised by the mean and deviation
of the training set. Our reading: the network is that of the quantised model; its last layer has K weights
before a softmax, K means and K log deviations for each prediction; the covariances are diagonal; the cost is
the mean NLL per sample. The number K and the unit of the published numbers are not stated; ours is bits, as
everywhere (times ln 2: nats). The formulas:

    log N_k = -0.5 · sum(log 2π + 2 log σ_k + ((x - μ_k) / σ_k)²),   NLL = -log sum_k exp(log w_k + log N_k)
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import HyperParameters, RealValued
from samplernn_theano.models import layers

# The least deviation, in deviations of the data. Recordings are rounded to steps: without a floor a Gaussian
# could shrink onto one step, and the density grow without limit.
LEAST_DEVIATION = 1e-3


def width(hp: HyperParameters, n_samples: int = 1) -> int:
    """Outputs for one prediction: Q logits, or K (1 + 2 n) numbers for n samples predicted as a vector."""
    if isinstance(hp, RealValued):
        return hp.n_components * (1 + 2 * n_samples)
    return hp.q_levels


def nll(hp: HyperParameters, outputs: Expression, targets: Expression, mask: Expression) -> Expression:
    """The NLL of every prediction in bits, (...); 0 where it is masked.

    Parameters
    ----------
    outputs : (..., width)
    targets, mask : (...) levels or numbers, or (..., n) for vectors of n numbers
        A masked sample of a vector is left out of its density.
    """
    if isinstance(hp, RealValued):
        if targets.ndim < outputs.ndim:
            targets, mask = targets[..., None], mask[..., None]
        return mixture_nll_bits(outputs, targets, mask, hp.n_components)
    return layers.nll_bits(outputs, targets) * mask


def draw(
    hp: HyperParameters,
    outputs: Expression,
    noise: dict[str, Expression],
    inverse_temperature: Expression,
    top_p: float = 1.0,
) -> Expression:
    """Draw from what the network predicts for N sequences.

    Parameters
    ----------
    outputs : (N, width)
    noise : dict
        "uniforms" (N,) and for a mixture "normals" (N,) or (N, n), whose shape the samples have.
    inverse_temperature : (N,)
        1 / temperature of each sequence. It multiplies the logits; the deviations of a mixture are
        multiplied by the root of the temperature (Ha & Eck 2017, A Neural Representation of Sketch Drawings).
    top_p : float
        Of `categorical`; a mixture is drawn from as a whole.
    """
    if isinstance(hp, RealValued):
        uniforms, normals = noise["uniforms"], noise["normals"]
        return draw_from_mixture(outputs, uniforms, normals, hp.n_components, inverse_temperature)
    return categorical(outputs * inverse_temperature[:, None], noise["uniforms"], top_p)


# --- mixtures of Gaussians ----------------------------------------------------------------------------------


def mixture_nll_bits(
    outputs: Expression, targets: Expression, mask: Expression, n_components: int
) -> Expression:
    """-log2 of a mixture's density: outputs (..., K (1 + 2 n)), targets and mask (..., n); returns (...)."""
    logits, means, log_deviations = _mixture(outputs, n_components)
    scaled = (targets[..., None, :] - means) * pt.exp(-log_deviations)  # (..., K, n)
    half, log_2pi = layers.constant(0.5, outputs), layers.constant(np.log(2 * np.pi), outputs)
    log_density = -half * pt.sum(
        (log_2pi + log_deviations + log_deviations + scaled * scaled) * mask[..., None, :], axis=-1
    )
    log_weights = logits - _logsumexp(logits)[..., None]
    nll = -_logsumexp(log_density + log_weights) * layers.constant(np.log2(np.e), outputs)
    return nll * pt.max(mask, axis=-1)  # exactly zero where a whole vector is masked


def draw_from_mixture(
    outputs: Expression,
    uniforms: Expression,
    normals: Expression,
    n_components: int,
    inverse_temperature: Expression,
) -> Expression:
    """Draw a component by its weight, then from its Gaussian.

    outputs (N, K (1 + 2 n)), uniforms (N,), normals (N,) where n is 1, or (N, n), inverse_temperature (N,);
    returns as `normals`.
    """
    logits, means, log_deviations = _mixture(outputs, n_components)
    component = categorical(logits * inverse_temperature[:, None], uniforms)  # (N,)
    chosen = pt.eq(component[:, None], pt.arange(n_components, dtype="int32"))[..., None]  # (N, K, 1)
    zero = layers.constant(0, outputs)
    mean, log_deviation = (pt.sum(pt.switch(chosen, x, zero), axis=1) for x in (means, log_deviations))
    vectors = normals if normals.ndim == 2 else normals[:, None]
    deviation = pt.exp(log_deviation) / pt.sqrt(inverse_temperature)[:, None]
    return (mean + deviation * vectors).reshape(normals.type.shape)


def _mixture(outputs: Expression, n_components: int) -> tuple[Expression, Expression, Expression]:
    """Outputs (..., K (1 + 2 n)) as logits of the weights (..., K), means and log deviations (..., K, n)."""
    *leading, total = outputs.type.shape
    K, n = n_components, (total // n_components - 1) // 2
    means = outputs[..., K : K + K * n].reshape((*leading, K, n))
    log_deviations = outputs[..., K + K * n :].reshape((*leading, K, n))
    return (
        outputs[..., :K],
        means,
        pt.maximum(log_deviations, layers.constant(np.log(LEAST_DEVIATION), outputs)),
    )


def _logsumexp(x: Expression) -> Expression:
    largest = pt.max(x, axis=-1)
    return largest + pt.log(pt.sum(pt.exp(x - largest[..., None]), axis=-1))


# --- levels -------------------------------------------------------------------------------------------------


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
    zero = layers.constant(0, probabilities)
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
    above = pt.sum(pt.switch(pt.gt(others, own), others, layers.constant(0, others)), axis=1)
    return pt.lt(above, layers.constant(top_p, above))


def _first_beyond(probabilities: Expression, uniforms: Expression) -> Expression:
    """The first k at which the running sum of probabilities (N, Q) exceeds the uniform; 0 where none does.

    Many levels are searched in two steps, the block that holds it first: the running sum over all of them
    takes several times as long on jax. The two agree but for rounding.
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
