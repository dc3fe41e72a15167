"""Traces in files: what reached the core, written by the operator and read by `simulate` and `plot`."""
