"""Spark's event logs: found, unpacked, read."""
