"""How many executors were asked for when queries began to wait for the first ones.

Theory of operation
-------------------
While no executor has come nothing can be measured, and executors are added for what waits (`batch_duration`), in proportion to
those that queries began with. So that number stays as it is until one comes, whatever happens meanwhile: if it began anew with a
query that begins later or is restarted, each of them would take what was added before for what is needed, and add to that.

Neither may a restart of the operator have that effect. Then what is asked for may hold all of that already, so nothing is added.
"""

NOBODY_KNOWS = 0
"""How many they were: they began before the operator did."""


class FirstExecutors:
    """Of one resource profile.

    Args:
        resumed: executors were asked for before, by an earlier run of the operator or for other settings.
    """

    def __init__(self, *, resumed: bool) -> None:
        self.begun_with: int | None = NOBODY_KNOWS if resumed else None
        """Executors, or `NOBODY_KNOWS`; None while nobody waits for the first ones."""

    def look(self, *, executors: int, asked: int, waited_for: bool) -> None:
        """Look at what there is now.

        Args:
            executors: that are there.
            asked: that there are to be.
            waited_for: the first batch of a query runs, and none has come on which it could.
        """
        if executors:
            self.begun_with = None
        elif self.begun_with is None and waited_for and asked:
            self.begun_with = asked

    def forget(self) -> None:
        """No query is there, nor was one lately: the next one begins with what there is to be then."""
        self.begun_with = None
