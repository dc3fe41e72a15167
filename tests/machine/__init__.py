"""What the test cluster and its images share: errors, progress, the machine's packages, a cache."""
