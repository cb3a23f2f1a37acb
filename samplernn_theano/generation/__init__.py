"""Samples from a model: samplers, random streams, priming, sound files."""
