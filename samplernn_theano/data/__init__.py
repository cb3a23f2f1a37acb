"""Recordings to clips, clips to data sets, data sets to minibatches."""
