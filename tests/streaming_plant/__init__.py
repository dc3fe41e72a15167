"""A simulated stream, and rules that allocate executors for it: the judge of `spark_allocation.core.streaming`."""
