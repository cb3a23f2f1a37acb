"""Atomic writes, locks, text, figures, signals and errors of commands, for all packages."""
