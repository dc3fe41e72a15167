"""Event logs of real runs against what the simulation makes of them."""
