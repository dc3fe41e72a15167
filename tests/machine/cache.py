"""The user's cache folder for everything that is slow to make: programs, images."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """XDG_CACHE_HOME or ~/.cache, and in it a folder of our own."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "spark-allocation-operator"
