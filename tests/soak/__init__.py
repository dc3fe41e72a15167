"""Real Spark jobs on a real cluster while everything around them goes wrong, and the same jobs under Spark's own allocator.

    make soak SEEDS=1-10 RUNS=30

A run is one driver with one job. Several run at once in a *round*, which has a seed: from it follow the jobs
(`workload`), what goes wrong (`tests.faults.fault_schedule`) and what becomes of their bounds. `round` plays one,
`work` reads from Spark's own event log what was done and what had to be done again, `verdict` judges, `table` shows.
"""
