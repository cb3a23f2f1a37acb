"""The command `samplernn`: parsing and printing, one module per group of commands."""
