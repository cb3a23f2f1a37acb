"""The paper's tables and figures, each by one command.

experiments, scales -> plan (command lines) -> run_step (one step) -> workflow (all steps) -> report.
"""
