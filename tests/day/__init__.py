"""A simulated day: two hundred applications on a real API server, with faults from a seed, in an hour or less.

    make day                  # an hour
    make day MINUTES=20

- `plan`: which applications start when, and what they have to do; follows from a seed.
- `run`: the day itself: the fleet, the operator as a process of its own, windows of faults, the invariants.
- `samples`: what is measured meanwhile.
- `memory`: the slope of the memory, with its confidence.
- `report`: figures as JSON, as a table, as a picture.
"""
