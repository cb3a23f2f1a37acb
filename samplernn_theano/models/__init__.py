"""The networks of the paper as symbolic graphs: SampleRNN, the plain RNN and WaveNet."""
