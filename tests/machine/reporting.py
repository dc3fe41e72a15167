"""Progress for people: a live line on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

PLAIN_LINE_EVERY = 30.0
"""Seconds between two lines about the same step when the output is not a terminal."""


class Reporter:
    """Says which step runs and for how long. Writes to standard error, so output stays clean."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    @contextmanager
    def step(self, text: str, *, quiet_below: float = 0.0) -> Iterator[None]:
        """Show `text` with the elapsed seconds while the block runs.

        Args:
            text: what is being done, as a participle ("building kubelet").
            quiet_below: leave no line behind when the step took fewer seconds.
        """
        started = time.monotonic()
        ended = threading.Event()
        live = self._console.is_terminal

        def tick() -> None:
            while not ended.wait(0.5 if live else PLAIN_LINE_EVERY):
                elapsed = time.monotonic() - started
                if live:
                    status.update(f"{text} … {elapsed:.0f} s")
                else:
                    self.say(f"{text} … {elapsed:.0f} s")

        status = self._console.status(f"{text} …")
        if live:
            status.start()
        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            ended.set()
            ticker.join()
            if live:
                status.stop()
            elapsed = time.monotonic() - started
            failed = sys.exc_info()[0] is not None
            if failed or elapsed >= quiet_below:
                self.say(f"{text}: {'failed' if failed else 'done'} after {elapsed:.1f} s")
