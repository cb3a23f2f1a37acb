"""The sample rate of all data sets and models but those of forks of the original (see `Common.rate`)."""

SAMPLE_RATE = 16000  # Hz
