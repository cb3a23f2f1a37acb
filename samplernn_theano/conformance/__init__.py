"""Our numbers held against those that the original's code produced."""
