"""The sample rate of all models and data sets."""

SAMPLE_RATE = 16000  # Hz
