"""How long: FUZZ=long (``make fuzz``) tries some hundred times as much as ``make test``, and other things each time."""

import os

import structlog
from hypothesis import HealthCheck, settings

EVERYTHING = list(HealthCheck)

settings.register_profile(
    "short",
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=EVERYTHING,
)
settings.register_profile(
    "long", max_examples=4000, deadline=None, database=None, suppress_health_check=EVERYTHING
)
settings.load_profile("long" if os.environ.get("FUZZ") == "long" else "short")
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
