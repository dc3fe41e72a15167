"""What would have been: a recorded application run again, in thought, under other settings."""
