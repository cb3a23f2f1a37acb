"""Exceptions of this package: errors that the user can fix.

A message is one line that names the file or option and says what to do. The command line prints it and exits
with code 2.
"""


class SampleRNNError(Exception):
    """Base class of all exceptions of this package."""


class HyperParameterError(SampleRNNError):
    """Hyper-parameters that contradict each other or the model."""


class DataError(SampleRNNError):
    """Recordings or data sets that are missing, unreadable or unsuitable."""


class CheckpointError(SampleRNNError):
    """A checkpoint that cannot be read or does not fit the model."""


class BackendError(SampleRNNError):
    """A backend that is unknown or not installed."""


class OutputError(SampleRNNError):
    """A file that could not be written."""


class DivergedError(SampleRNNError):
    """A training cost that is NaN or infinite."""


class ReproductionError(SampleRNNError):
    """An unknown or malformed experiment, scale or published number, or a workflow that cannot run."""
