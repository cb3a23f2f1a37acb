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

from samplernn_theano import ops
from samplernn_theano.hyperparameters import HyperParameters, RealValued
from samplernn_theano.models import draws

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
    return ops.nll_bits(outputs, targets) * mask


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
        Of `draws.categorical`; a mixture is drawn from as a whole.
    """
    if isinstance(hp, RealValued):
        uniforms, normals = noise["uniforms"], noise["normals"]
        return draw_from_mixture(outputs, uniforms, normals, hp.n_components, inverse_temperature)
    return draws.categorical(outputs * inverse_temperature[:, None], noise["uniforms"], top_p)


# --- mixtures of Gaussians ----------------------------------------------------------------------------------


def mixture_nll_bits(
    outputs: Expression, targets: Expression, mask: Expression, n_components: int
) -> Expression:
    """-log2 of a mixture's density: outputs (..., K (1 + 2 n)), targets and mask (..., n); returns (...)."""
    logits, means, log_deviations = _mixture(outputs, n_components)
    scaled = (targets[..., None, :] - means) * pt.exp(-log_deviations)  # (..., K, n)
    half, log_2pi = ops.constant(0.5, outputs), ops.constant(np.log(2 * np.pi), outputs)
    log_density = -half * pt.sum(
        (log_2pi + log_deviations + log_deviations + scaled * scaled) * mask[..., None, :], axis=-1
    )
    log_weights = logits - _logsumexp(logits)[..., None]
    nll = -_logsumexp(log_density + log_weights) * ops.constant(np.log2(np.e), outputs)
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
    component = draws.categorical(logits * inverse_temperature[:, None], uniforms)  # (N,)
    chosen = pt.eq(component[:, None], pt.arange(n_components, dtype="int32"))[..., None]  # (N, K, 1)
    zero = ops.constant(0, outputs)
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
        pt.maximum(log_deviations, ops.constant(np.log(LEAST_DEVIATION), outputs)),
    )


def _logsumexp(x: Expression) -> Expression:
    largest = pt.max(x, axis=-1)
    return largest + pt.log(pt.sum(pt.exp(x - largest[..., None]), axis=-1))
