"""Fixtures shared with the tests of generation."""

from tests.generation.conftest import generate, model, primes, quick  # noqa: F401
