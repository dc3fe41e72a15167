"""Spark dynamic allocation, outside the driver."""
