"""Compatibility with the original: its shuffle, random numbers, pickles, names and results folders."""
