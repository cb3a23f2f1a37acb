"""Checkpoints and run folders: the npz format, loading, inspection, status, conversion."""
