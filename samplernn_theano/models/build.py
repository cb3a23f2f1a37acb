"""Build the graph or the sampler of a model, of any family, from its hyper-parameters."""

from dataclasses import replace

from samplernn_theano.backends import chunked_loss, fusion
from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.errors import HyperParameterError
from samplernn_theano.models import backpropagation, one_tier, samplernn, wavenet
from samplernn_theano.models.graph import Form, Graph, Sampler, over_devices
from samplernn_theano.models.parameters import Parameters
from samplernn_theano.models.sample_block import block_sampler

_MODULES = dict.fromkeys(("three_tier", "two_tier", "k_tier", "samplernn_gmm"), samplernn)
_MODULES |= {"one_tier": one_tier, "rnn_gmm": one_tier, "wavenet": wavenet}


def build_graph(params: Parameters, hp: HyperParameters, form: Form = "fast") -> Graph:
    """Build the model over one truncated-BPTT chunk: cost, outputs and new states.

    The first build with a seeded `params` draws the initial parameters in the original's order.
    """
    graph = _MODULES[hp.family].graph(params, hp)
    return graph if form == "reference" else fused(graph)


def fused(graph: Graph) -> Graph:
    """The same function as a graph that takes less time and memory; `graph` is not to be used any more.

    The rewrites are those of `samplernn_theano.backends.fusion`, `samplernn_theano.backends.chunked_loss` and
    `samplernn_theano.models.backpropagation`.
    """
    own = {name: getattr(graph, name) for name in ("total", "nll", "logits", "ip_total", "ip_logits")}
    names = [name for name, output in own.items() if output is not None]
    outputs = [*(own[name] for name in names), *graph.new_states.values()]
    outputs = fusion.rewrite(outputs, fusion.join_products, backpropagation.by_hand)
    new_states = dict(zip(graph.new_states, outputs[len(names) :], strict=True))
    new = dict(zip(names, outputs, strict=False))
    return replace(graph, **new | {"total": chunked_loss.in_chunks(new["total"]), "new_states": new_states})


def build_sampler(
    params: Parameters, hp: HyperParameters, n_seqs: int, n_samples: int, top_p: float = 1.0
) -> Sampler:
    """Build the model as a generator of blocks of `n_samples` samples for `n_seqs` sequences.

    A block is of whole frames of the slowest tier: at most `n_samples` long, but at least one frame. With
    `top_p` below 1, levels are drawn from the nucleus only (`samplernn_theano.models.distributions`).
    """
    if not 0 < top_p <= 1:
        raise HyperParameterError(f"--top-p is {top_p}; it must be above 0, and at most 1.")
    if hp.real_valued and top_p < 1:
        raise HyperParameterError(
            f"--top-p {top_p} needs levels to choose from, and {hp.family} draws real numbers; leave it out, "
            "or lower --temperature."
        )
    step = _MODULES[hp.family].generation_step(params, hp, n_seqs)
    sampler = block_sampler(params, hp, n_seqs, n_samples, top_p, step)
    outputs = [sampler.samples, *sampler.new_states.values()]
    samples, *states = fusion.rewrite(outputs, fusion.join_products_in_loop)
    return replace(sampler, samples=samples, new_states=dict(zip(sampler.new_states, states, strict=True)))


def build_shard_graph(
    params: Parameters, hp: HyperParameters, form: Form = "fast", n_devices: int = 1
) -> Graph:
    """Build the model over one device's shard of the batch, with the costs of the whole batch."""
    graph = build_graph(params, replace(hp, batch_size=hp.batch_size // n_devices), form)
    return graph if n_devices == 1 else over_devices(graph)
