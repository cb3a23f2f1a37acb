"""Files, text, plots and signals, which every other package may use."""
