"""How many executors streaming queries need."""
