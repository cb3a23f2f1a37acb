"""What the conformance with the original is tested with."""

import jax
import pytest


@pytest.fixture
def optimised():
    """Programs as users have them, with all of XLA's optimisations."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
