"""A wall clock that can be set, for one process and whatever it starts: all it asks the C library, it is told wrongly.

`CLOCK_REALTIME` cannot be set for one process (time namespaces hold the other clocks only), and the machine's own is not
ours to set. So a small library stands before the C library's, built from wall_clock.c when it is first wanted.
"""

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("wall_clock.c")
COMPILER = "cc"


class WallClock:
    """As long as nobody sets it, it is right.

    Attributes:
        can_be_set: there is a C compiler on this machine.
        environment: of a process that is to have this clock.
    """

    def __init__(self, folder: Path, name: str = "wall-clock", *, off_by: int = 0) -> None:
        """
        Args:
            off_by: seconds, from the start on.
        """
        self._file = folder / f"{name}.seconds"
        self.set(off_by)
        self.can_be_set = shutil.which(COMPILER) is not None
        self.environment: dict[str, str] = {}
        if self.can_be_set:
            library = folder / "wall_clock.so"
            if not library.exists():
                command = [
                    COMPILER,
                    "-shared",
                    "-fPIC",
                    "-O1",
                    "-o",
                    str(library),
                    str(SOURCE),
                    "-ldl",
                ]
                subprocess.run(command, check=True, capture_output=True)
            self.environment = {
                "LD_PRELOAD": str(library),
                "WALL_CLOCK_IS_OFF_BY": str(self._file),
            }

    def set(self, seconds: int) -> None:
        """Processes that have this clock are off by so much from now on."""
        if self._file.exists():
            # in place: it is mapped
            with self._file.open("r+b") as file:
                file.write(struct.pack("@l", seconds))
        else:
            self._file.write_bytes(struct.pack("@l", seconds))
