"""SampleRNN, an unconditional end-to-end neural audio generation model, on PyTensor.

Mehri, Kumar, Gulrajani, Kumar, Jain, Sotelo, Courville and Bengio, ICLR 2017, arXiv:1612.07837.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("samplernn-theano")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    """`generate` is imported when it is asked for: with it come PyTensor and Numba, seconds of loading."""
    if name == "generate":
        from samplernn_theano.generation import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
