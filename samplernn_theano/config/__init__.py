"""Hyper-parameters, presets, flags and the schedule of a run."""
