"""Compare the numbers of our models with those of the original's code."""
