"""The paper's tables by a command each: the workflow over the files of the folder `reproduce/`.

files -> cells, scales (what to do) -> plan (which commands) -> steps (do one) -> workflow (do all) -> report.
"""
