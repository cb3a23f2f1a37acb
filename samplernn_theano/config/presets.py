"""Presets: named sets of hyper-parameters.

``best``   the authors' best model if it is known; needs a GPU
``small``  for a laptop: hours
``demo``   the smallest whose samples sound like the data: minutes
``tiny``   for tests: seconds

The paper does not state the hyper-parameters of its RNN and of the mixtures of Gaussians, and has no model of
more than three tiers: `best` of one_tier, rnn_gmm, samplernn_gmm and k_tier is our choice, similar to the
known ones.
"""

from dataclasses import asdict
from typing import Any

from samplernn_theano.config.hyperparameters import (
    FAMILIES,
    RNNGMM,
    HyperParameters,
    KTier,
    OneTier,
    SampleRNNGMM,
    ThreeTier,
    TwoTier,
    WaveNet,
)
from samplernn_theano.errors import HyperParameterError

_SMALL: dict[str, Any] = {"dim": 256, "batch_size": 16}
_DEMO: dict[str, Any] = {"dim": 128, "batch_size": 8}
_TINY: dict[str, Any] = {"dim": 32, "batch_size": 4}

PRESETS: dict[str, dict[str, HyperParameters]] = {
    "three_tier": {
        "best": ThreeTier(),
        "small": ThreeTier(**_SMALL),
        "demo": ThreeTier(**_DEMO, emb_size=32, seq_len=256, big_frame_size=16, frame_size=4),
        "tiny": ThreeTier(**_TINY, emb_size=16, seq_len=128),
    },
    "two_tier": {
        "best": TwoTier(),
        "small": TwoTier(**_SMALL, n_frames=32),
        "demo": TwoTier(**_DEMO, emb_size=32, n_frames=32, frame_size=8, n_rnn=1),
        "tiny": TwoTier(**_TINY, emb_size=16, n_frames=8, n_rnn=1),
    },
    "one_tier": {
        "best": OneTier(),
        "small": OneTier(**_SMALL),
        "demo": OneTier(**_DEMO, emb_size=32, seq_len=256),
        "tiny": OneTier(**_TINY, emb_size=16, seq_len=128),
    },
    "wavenet": {
        "best": WaveNet(),
        "small": WaveNet(dim=32, dilation_layers_per_block=8),
        "demo": WaveNet(dim=16, wavenet_blocks=2, dilation_layers_per_block=8),
        "tiny": WaveNet(
            dim=8, batch_size=4, wavenet_blocks=2, dilation_layers_per_block=4, sequence_len_to_train=128
        ),
    },
    "k_tier": {
        "best": KTier(),
        "small": KTier(**_SMALL),
        "demo": KTier(**_DEMO, emb_size=32, seq_len=256, frame_sizes=(32, 8, 2)),
        "tiny": KTier(**_TINY, emb_size=16, seq_len=128),
    },
    "rnn_gmm": {
        "best": RNNGMM(),
        "small": RNNGMM(**_SMALL),
        "demo": RNNGMM(**_DEMO, seq_len=256),
        "tiny": RNNGMM(**_TINY, n_components=4, seq_len=128),
    },
    "samplernn_gmm": {
        "best": SampleRNNGMM(),
        "small": SampleRNNGMM(**_SMALL, n_frames=32),
        "demo": SampleRNNGMM(**_DEMO, n_frames=32, frame_size=8, n_rnn=1),
        "tiny": SampleRNNGMM(**_TINY, n_components=4, n_frames=8, n_rnn=1),
    },
}


def preset(family: str, name: str, changes: dict[str, Any]) -> HyperParameters:
    """Preset `name` of `family`, with changes."""
    presets = PRESETS[family]
    if name not in presets:
        raise HyperParameterError(f"--preset {name} is unknown; choose one of {', '.join(presets)}.")
    return FAMILIES[family](**(asdict(presets[name]) | changes))
