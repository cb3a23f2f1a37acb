"""The model families; `graph` and `sampler` find the right one by the hyper-parameters.

``tiers``    three_tier, two_tier, k_tier and samplernn_gmm: SampleRNN
``one_tier`` one_tier and rnn_gmm: a plain RNN
``wavenet``  wavenet
"""

from samplernn_theano.errors import HyperParameterError
from samplernn_theano.hyperparameters import HyperParameters
from samplernn_theano.models import one_tier, tiers, wavenet
from samplernn_theano.models.graph import Graph, Sampler
from samplernn_theano.parameters import Parameters
from samplernn_theano.recurrent import Form

_MODULES = {
    "three_tier": tiers,
    "two_tier": tiers,
    "k_tier": tiers,
    "samplernn_gmm": tiers,
    "one_tier": one_tier,
    "rnn_gmm": one_tier,
    "wavenet": wavenet,
}


def graph(params: Parameters, hp: HyperParameters, form: Form = "fast") -> Graph:
    """The model over one truncated-BPTT pass: cost, outputs and new states.

    Building it for the first time with a seeded `params` draws the initial parameters in the original's
    order.
    """
    return _MODULES[hp.family].graph(params, hp, form)


def sampler(
    params: Parameters, hp: HyperParameters, n_seqs: int, n_samples: int, top_p: float = 1.0
) -> Sampler:
    """The model as a generator of blocks of `n_samples` samples for `n_seqs` sequences.

    A block is of whole frames of the slowest tier: at most `n_samples` long, but one frame at least.

    Parameters
    ----------
    top_p : float
        Below 1, levels are drawn from the nucleus alone; see `samplernn_theano.models.draws.categorical`.

    Raises
    ------
    HyperParameterError
        If `top_p` is not in (0, 1], or below 1 for a model of real numbers, which has no levels.
    """
    if not 0 < top_p <= 1:
        raise HyperParameterError(f"--top-p is {top_p}; it must be above 0, and 1 at most.")
    if hp.real_valued and top_p < 1:
        raise HyperParameterError(
            f"--top-p {top_p} needs levels to choose from, and {hp.family} draws real numbers; leave it out, "
            "or lower --temperature."
        )
    return _MODULES[hp.family].sampler(params, hp, n_seqs, n_samples, top_p)
