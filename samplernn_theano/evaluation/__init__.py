"""The NLL of a model on splits and recordings, and the comparison of two models."""
