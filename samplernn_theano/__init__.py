"""SampleRNN, an unconditional end-to-end neural audio generation model, on PyTensor.

Mehri, Kumar, Gulrajani, Kumar, Jain, Sotelo, Courville and Bengio, ICLR 2017, arXiv:1612.07837.
"""

__version__: str


def __getattr__(name: str) -> object:
    """What is slow to load is made when it is asked for: the version, and `generate` with PyTensor."""
    if name == "__version__":
        from samplernn_theano.utils.version import package_version

        return package_version()
    if name == "generate":
        from samplernn_theano.generation.generate import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
