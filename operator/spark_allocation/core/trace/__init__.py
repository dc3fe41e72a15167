"""What reached the core in one life of a driver, as values that can be kept and given to it again."""
