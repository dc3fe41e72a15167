"""What the test cluster says when it cannot go on."""


class ClusterError(Exception):
    """A condition the user can act on: one or two plain sentences that end with the remedy."""
