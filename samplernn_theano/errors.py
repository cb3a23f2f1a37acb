"""The one family of errors that a person can put right.

Every message is one sentence (or two) that names the file or option and says what to do.
The command line prints it on one line and exits with code 2.
"""


class SampleRNNError(Exception):
    """Base of all errors of this package: something the user can put right."""


class HyperParameterError(SampleRNNError):
    """Hyper-parameters that contradict each other or the model."""


class DataError(SampleRNNError):
    """Recordings or data sets that are missing, unreadable or unfit."""


class CheckpointError(SampleRNNError):
    """A checkpoint that cannot be read or does not fit the model."""


class BackendError(SampleRNNError):
    """A backend that is unknown or not installed."""


class OutputError(SampleRNNError):
    """A file that could not be written."""


class DivergedError(SampleRNNError):
    """Training met a cost that is not a finite number."""


class ReproductionError(SampleRNNError):
    """A cell, scale or published number that is unknown or malformed, or a workflow that cannot run."""
