"""What exists only because the original did: its shuffle, random numbers, pickles, names and folders."""
