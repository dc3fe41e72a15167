"""One stream whose input comes at changing rates, with executors by the operator, by Spark itself, or a fixed number."""
