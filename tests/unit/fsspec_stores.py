"""Stores of fsspec that every Python has that starts: those of worker processes and of Spark's executors too."""

from pathlib import Path


def put_store(site: Path, scheme: str, opening: str) -> None:
    """A store in which each URL is a log of a byte.

    Args:
        site: a folder of the Pythons' path.
        opening: statements, done by whoever opens a log; os, pathlib, signal and time are imported.
    """
    (site / "sitecustomize.py").write_text(
        f"""
import os, pathlib, signal, time
from fsspec import AbstractFileSystem, register_implementation

class Store(AbstractFileSystem):
    def exists(self, path, **about):
        return True
    def isdir(self, path):
        return False
    def size(self, path):
        return 1
    def open(self, path, *about, **more):
        {opening}

register_implementation("{scheme}", Store, clobber=True)
"""
    )
