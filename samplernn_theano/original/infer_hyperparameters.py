"""Infer family and hyper-parameters of a model from the names and shapes of its parameters."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from numpy.typing import NDArray

from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]

MARKS = {"final.W": "wavenet", "BigFrameLevel.h0": "three_tier", "FrameLevel.h0": "two_tier"}


class Inferred(NamedTuple):
    """Family and hyper-parameters inferred for a model."""

    family: str
    known: dict[str, Any]
    unknown: list[str]  # not shown by names and shapes; also learn_h0, as untrained states are saved too


def infer(params: Mapping[str, NDArray]) -> Inferred:
    """Infer family and hyper-parameters of a model of the original; CheckpointError if it is none."""
    no_model = "These are not the parameters of a model of the original"
    shapes = {name: tuple(array.shape) for name, array in params.items()}
    family = next((family for name, family in MARKS.items() if name in shapes), "one_tier")
    try:
        known = _wavenet(shapes) if family == "wavenet" else _recurrent(shapes, family)
    except KeyError as error:
        raise CheckpointError(f"{no_model}: {error.args[0]} is missing.") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(f"{no_model}: their shapes do not fit each other.") from error
    if any(value == 0 for key, value in known.items() if type(value) is int and key != "emb_size"):
        raise CheckpointError(f"{no_model}: some are empty.")
    names = [own.name for own in fields(FAMILIES[family]) if not own.metadata.get("ours")]
    return Inferred(family, known, [name for name in names if name not in known])


def _wavenet(shapes: Shapes) -> dict[str, Any]:
    (layers,) = shapes["block_1.parametrized_weights"]
    q_levels, dim, _, _ = shapes["final.W"]
    return {
        "dim": dim,
        "q_levels": q_levels,
        "wavenet_blocks": sum(name.endswith(".parametrized_weights") for name in shapes),
        "dilation_layers_per_block": layers,
    }


def _recurrent(shapes: Shapes, family: str) -> dict[str, Any]:
    slowest = {"three_tier": "BigFrameLevel", "two_tier": "FrameLevel", "one_tier": "SampleLevel"}[family]
    rnn_type = "LSTM" if f"{slowest}.LSTM1.Step.Input.W0" in shapes else "GRU"
    dim, q_levels = shapes["SampleLevel.Output.W0"]
    n_rnn, _ = shapes[f"{slowest}.h0"]
    n_in, _ = shapes[f"{slowest}.{rnn_type}1.Step.Input.W0"]
    known: dict[str, Any] = {
        "dim": dim,
        "q_levels": q_levels,
        "n_rnn": n_rnn,
        "rnn_type": rnn_type,
        "skip_conn": any(".outskip" in name for name in shapes),
        "weight_norm": "SampleLevel.Output.g0" in shapes,
    }
    if family == "one_tier":
        return known | {"emb_size": shapes["SampleLevel.Embedding"][1]}
    if family == "two_tier":
        known["frame_size"] = frame_size = n_in
    else:
        n_predicted = shapes["BigFrameLevel.IndependentPreds.W0"][1]  # not in k_tier, which is ours
        known["big_frame_size"] = n_in
        known["frame_size"] = frame_size = shapes["FrameLevel.InputExpand.W0"][0]
        if n_predicted != n_in * q_levels:
            raise ValueError
    known["emb_size"] = shapes["SampleLevel.Embedding"][1] if "SampleLevel.Embedding" in shapes else 0
    # The sample tier reads frame_size vectors, embedded or one-hot; with a mixture it reads real numbers.
    if shapes["SampleLevel.L1_PrevSamples.W0"][0] != frame_size * (known["emb_size"] or q_levels):
        raise ValueError
    return known
