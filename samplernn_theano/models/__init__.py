"""The model families, one module each, the tiers as functions from top to bottom as in the paper."""
