"""A model as a generator: one scan over the steps of a block of samples."""

import pytensor
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable as Expression

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.models import distributions, layers
from samplernn_theano.models.graph import GenerationStep, Sampler
from samplernn_theano.models.parameters import Parameters


def block_sampler(
    params: Parameters,
    hp: HyperParameters,
    n_seqs: int,
    n_samples: int,
    top_p: float,
    step: GenerationStep,
) -> Sampler:
    """A sampler of N = `n_seqs` sequences in blocks of `n_samples`, or of fewer, for whole steps."""
    size, states = step.size, step.states
    n_steps = max(1, n_samples // size)
    names = ("uniforms", "normals") if hp.real_valued else ("uniforms",)
    shape = (n_steps * size, n_seqs)
    noise = {name: pt.tensor(name, dtype=params.dtype, shape=shape) for name in names}
    silent = pt.tensor("silent", dtype="int32", shape=shape[:1])
    previous = pt.tensor("previous", dtype=layers.samples_dtype(params, hp), shape=(n_seqs, hp.overlap))
    reset = pt.tensor("reset", dtype="int32", shape=())
    inverse_temperature = pt.tensor("inverse_temperature", dtype=params.dtype, shape=(n_seqs,))

    def body(silent: Expression, *arguments: Expression) -> list[Expression]:
        """One step; arguments: silent (size,), noise (size, N) each, samples before (N, size), states."""
        noise_now = dict(zip(noise, arguments, strict=False))
        before, *carried = arguments[len(noise) :]

        def draw(prediction: Expression, t: int) -> Expression:
            own = {name: x[t] for name, x in noise_now.items()}  # (N,) each
            drawn = distributions.draw(hp, prediction, own, inverse_temperature, top_p)
            return layers.fed_back(hp, silent[t], drawn)

        samples, new_states = step.run(before, dict(zip(states, carried, strict=True)), draw)
        return [samples, *new_states.values()]

    samples, *last = pytensor.scan(
        body,
        sequences=[
            silent.reshape((n_steps, size)),
            *(values.reshape((n_steps, size, n_seqs)) for values in noise.values()),
        ],
        outputs_info=[previous[:, -size:], *step.start(reset).values()],
        return_updates=False,
    )
    return Sampler(
        parameters=params,
        noise=noise,
        silent=silent,
        previous=previous,
        reset=reset,
        inverse_temperature=inverse_temperature,
        states=states,
        new_states={name: values[-1] for name, values in zip(states, last, strict=True)},
        samples=samples.transpose(1, 0, 2).reshape((n_seqs, n_steps * size)),
    )
