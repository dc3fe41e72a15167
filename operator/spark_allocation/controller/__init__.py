"""Wiring: kopf, one runner per SparkAllocation, the life of the process."""
