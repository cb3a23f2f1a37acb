"""What exists only because the authors' code did: Python 2's shuffle and the like."""
