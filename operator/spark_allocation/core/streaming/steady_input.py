"""Whether input has been as it is for a while.

Theory of operation
-------------------
The rate of the batches that have ended stays within `SAME_INPUT` of one number for `STEADY_AFTER_S`. The number is the rate at the
beginning of that time, and once it is over the rate at its end: where input has grown, what is taken for its rate at first is
too low.

One batch that takes longer than its rows should is no growth, though it looks like some while it runs. It is one when what
it shows is far above (`SURELY_MORE`), or when it is late.

Nothing of this is said of streams whose batches follow each other: there rows are what came during the last batch, and one executor
less may be the one without which batches grow without end.
"""

import math

SAME_INPUT = 1.15
"""Input that has grown by less is no reason for a scale-up by itself."""
STEADY_AFTER_S = 600.0
SURELY_MORE = 1.5
"""Of the steady rate: what the batch that runs shows of its rows is growth."""


class SteadyInput:
    """Of the streams of one profile together."""

    def __init__(self) -> None:
        self._rate = math.nan
        self._since = math.inf
        self._is_centred = False

    def forget(self) -> None:
        """It is to be judged anew."""
        self._rate = math.nan

    def look(
        self, now: float, *, of_batches: float | None, at_present: float | None, late: bool
    ) -> bool:
        """Note the rate of input, and say whether it is steady.

        Args:
            now: monotonic seconds, not before those of the last call.
            of_batches: rows a second of batches that have ended; None when that is not known.
            at_present: the same with what the batch that runs shows.
            late: rows wait for longer than they should.
        """
        if of_batches is None or at_present is None:
            self.forget()
            return False
        if not self._rate / SAME_INPUT <= of_batches <= self._rate * SAME_INPUT:
            self._rate, self._since, self._is_centred = of_batches, now, False
            return False
        if now - self._since < STEADY_AFTER_S:
            return False
        if not self._is_centred:
            self._rate, self._is_centred = of_batches, True
        return not late and at_present <= self._rate * SURELY_MORE
