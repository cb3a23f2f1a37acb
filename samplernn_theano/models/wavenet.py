"""The paper's re-implementation of WaveNet (van den Oord et al. 2016), the baseline of its table 1.

Blocks of convolutions over two samples each, 1, 2, 4, ... samples apart, with gated units, and a multilayer
perceptron that predicts the next sample from the sum of what every layer hands it (its skip). Nothing is
carried from one pass to the next: a pass begins with a receptive field of samples before its first target.

Shapes: B clips, T samples per pass, C = dim channels, Q levels, d the dilation of a layer. Time comes first:
(T, B, C). Convolutions are "valid": a layer's output is d steps shorter than its input, and the two end at
the same sample. The weights have the original's four dimensions: (channels out, channels in, taps, 1).
"""

from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano import ops
from samplernn_theano.hyperparameters import WaveNet
from samplernn_theano.models import output, parts
from samplernn_theano.models.graph import Graph, Sampler
from samplernn_theano.parameters import Draw, Parameters, uniform, zeros


class Layer(NamedTuple):
    """The parameters of a dilated layer, whose channels out are interleaved (quirk)."""

    dilation: int
    W: Expression  # (2 C, n_in, 2, 1): gates in the even rows, values in the odd ones; n_in: 1 or C
    b: Expression  # (2 C,), likewise
    W1x1: Expression  # (2 C, C, 1, 1): what goes on to the next layer in the even rows, the skip in the odd
    scale: Expression  # (): of the skip


# --- parameters ---------------------------------------------------------------------------------------------


def glorot(shape: tuple[int, int, int, int]) -> Draw:
    """Glorot & Bengio 2010, as Lasagne has it for the weights of a convolution, (n_out, n_in, taps, 1)."""
    n_out, n_in, *receptive = shape
    return uniform(np.sqrt(2.0 / ((n_out + n_in) * np.prod(receptive))), shape)


def dilated_layers(params: Parameters, hp: WaveNet) -> list[Layer]:
    """The dilated layers, in the order in which they are passed."""
    C, L = hp.dim, hp.dilation_layers_per_block
    layers: list[Layer] = []
    for k in range(1, hp.wavenet_blocks + 1):
        scales = params.new(f"block_{k}.parametrized_weights", (L,), lambda rng: np.ones(L))
        for i in range(1, L + 1):
            name = f"block_{k}.dilation_{i}"
            W_shape, W1x1_shape = (2 * C, C if layers else 1, 2, 1), (2 * C, C, 1, 1)
            W = params.new(f"{name}.W", W_shape, glorot(W_shape))
            b = params.new(f"{name}.b", (2 * C,), zeros(2 * C))
            W1x1 = params.new(f"{name}.W1x1", W1x1_shape, glorot(W1x1_shape))
            layers.append(Layer(2 ** (i - 1), W, b, W1x1, scales[i - 1]))
    return layers


def predict(params: Parameters, hp: WaveNet, skips: Expression) -> Expression:
    """The multilayer perceptron: the sum of the skips (..., C) to logits (..., Q)."""
    x = skips
    for k in (1, 2, 3):
        x = ops.relu(_pointwise(params, f"out_{k}", hp.dim, x))
    return _pointwise(params, "final", hp.q_levels, x)


def _pointwise(params: Parameters, name: str, n_out: int, x: Expression) -> Expression:
    """A convolution over one sample, with bias: x (..., n_in) to (..., n_out)."""
    shape = (n_out, x.type.shape[-1], 1, 1)
    W = params.new(f"{name}.W", shape, glorot(shape))
    b = params.new(f"{name}.b", (n_out,), zeros(n_out))
    return ops.matmul(x, W[:, :, 0, 0].T) + b
