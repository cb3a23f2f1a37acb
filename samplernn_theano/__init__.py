"""SampleRNN, an unconditional end-to-end neural audio generation model, on PyTensor.

Mehri, Kumar, Gulrajani, Kumar, Jain, Sotelo, Courville and Bengio, ICLR 2017, arXiv:1612.07837.
"""

__version__: str


def __getattr__(name: str) -> object:
    """What is slow to load is made when it is asked for: the version, and `generate` with PyTensor."""
    if name == "__version__":
        return _version()
    if name == "generate":
        from samplernn_theano.generation import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("samplernn-theano")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
