"""The training loop, its step, optimizer and hooks, on one process or several."""
