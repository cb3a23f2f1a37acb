"""The data sets of the paper, and a synthetic one for trying out: sources, order and recipe of each."""
