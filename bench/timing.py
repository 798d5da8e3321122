"""What the two sides of the call benchmarks share: cases, percentiles, and a look at how much shared memory there is."""

import pathlib

#: Name, height and width of a float32 image of three channels, and how many calls.
CASES = (("image-3mb", 512, 512, 100), ("image-50mb", 2048, 2048, 30), ("image-400mb", 5910, 5910, 8))


def percentiles(times):
    """From seconds to milliseconds."""
    ordered = sorted(times)
    return {"p50": ordered[(len(ordered) - 1) // 2] * 1000, "p95": ordered[int((len(ordered) - 1) * 0.95)] * 1000}


class Shared:
    """Peak of the system's shared memory (Linux: Shmem in /proc/meminfo) above what it was at the start, in bytes."""

    def __init__(self):
        self._before = self._now()
        self.peak = 0

    def _now(self):
        try:
            lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Shmem:")), 0)

    def look(self):
        """Between two calls."""
        self.peak = max(self.peak, self._now() - self._before)
