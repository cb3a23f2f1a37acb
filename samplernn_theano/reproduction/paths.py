"""The package data of the reproduction."""

from pathlib import Path

FILES = Path(__file__).parent / "files"
"""Experiments, scales, Snakefile and profiles, published numbers, differences from the paper."""
