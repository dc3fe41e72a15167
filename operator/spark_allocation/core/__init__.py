"""The pure core: Spark's allocation decisions as functions of what was seen and the time."""
