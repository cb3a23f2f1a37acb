"""Train tiny models on several numbers of virtual devices; print what came of it as JSON.

`python over_devices.py 1,2,4 FAMILY ...`. A program of its own: JAX finds the devices when it starts.
"""

import json
import re
import sys

import numpy as np

from samplernn_theano.backends.compile import to_numpy
from samplernn_theano.config.hyperparameters import FAMILIES
from samplernn_theano.config.presets import preset
from samplernn_theano.training.step import compile_trainer

ITERATIONS = 50
SMALL = {"dim": 8, "batch_size": 4, "emb_size": 4, "q_levels": 16, "seq_len": 32, "n_components": 3}
SMALL |= {"rnn_type": "LSTM", "frame_size": 2, "mean": 0.0, "std": 0.2}


def small(family):
    known = FAMILIES[family].__dataclass_fields__
    return preset(family, "tiny", {name: value for name, value in SMALL.items() if name in known})


def minibatches(hp):
    """Each clip ends somewhere; in every fourth chunk only the last has targets left, on one device."""
    rng = np.random.default_rng(0)
    shape = hp.batch_size, hp.overlap + hp.seq_len
    for i in range(ITERATIONS):
        sequences = (
            rng.standard_normal(shape, np.float32)
            if hp.real_valued
            else rng.integers(0, hp.q_levels, shape, np.int32)
        )
        ends = rng.integers(hp.overlap + 1, shape[1], hp.batch_size)
        ends[:-1] *= i % 4 != 3
        mask = (np.arange(shape[1]) < ends[:, None]).astype(np.float32)
        yield sequences, mask, np.asarray(i % 8 == 0, np.int32)


def exchanges(compiled_text):
    """Collective operations of a compiled program, such as ("all-reduce", 1024), with their inputs' bytes."""
    kinds = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
    found = []
    for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", compiled_text):
        arrays = re.findall(r"[a-z]+(\d+)\[([\d,]*)\]", shapes)
        sizes = [int(bits) // 8 * np.prod([int(n) for n in shape.split(",") if n]) for bits, shape in arrays]
        found.append((kind, int(sum(sizes))))
    return found


def trained(family, n_devices):
    hp = small(family)
    weight = 0.5 if family == "three_tier" else 0.0
    trainer = compile_trainer(hp, backend="jax", ip_weight=weight, n_devices=n_devices)
    states, costs = trainer.zero_states(), []
    for batch in minibatches(hp):
        cost, *states = trainer.step(*batch, *states)
        costs.append(float(cost))
    score = float(trainer.evaluate(*batch, *states)[0])
    return {
        "costs": costs,
        "score": score,
        "state_shapes": [np.shape(state) for state in to_numpy(states)],
        "exchanges": exchanges(trainer.step.compiled().as_text()),
        "bytes_moved": sum(4 * v.get_value().size for name, v in trainer.adam.items() if ".m." in name),
    }


if __name__ == "__main__":
    counts = [int(n) for n in sys.argv[1].split(",")]
    print(json.dumps({family: [trained(family, n) for n in counts] for family in sys.argv[2:]}))
