"""Inputs: pods, drivers and their answers, turned into core values."""
