"""What the sides of the call benchmarks share: `calls.ts` asks each for a few calls by turns, so that what else the machine does for
a while slows all of them down and not one.
"""

import asyncio
import json
import os
import pathlib
import sys
import time

import torch

#: Height and width of the float32 images of three channels.
IMAGES = {"3mb": (512, 512), "50mb": (2048, 2048), "400mb": (5910, 5910)}
#: What `calls.ts` looks for: the libraries print as they like.
MARK = "@bench "
#: Calls that are not counted, of a case for the first time and at each later turn.
FIRST, LATER = 5, 2


def image(size):
    """A fresh one, as a graph makes them."""
    return torch.rand(1, *IMAGES[size], 3)


class Shared:
    """How much of the system's shared memory (Linux: Shmem in /proc/meminfo) has come with this side's turns, in bytes."""

    def __init__(self):
        self.peak = self._own = 0
        self._start = self._now()

    def _now(self):
        try:
            lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Shmem:")), 0)

    def begin(self):
        """What others hold now is not ours."""
        self._start = self._now()

    def look(self):
        """Between two calls."""
        self.peak = max(self.peak, self._own + self._now() - self._start)

    def end(self):
        """What was added stays ours."""
        self._own = max(0, self._own + self._now() - self._start)


async def measure(call, make, count, shared):
    """Milliseconds of each of so many calls."""
    times = []
    for _ in range(count):
        given = make()
        start = time.perf_counter()
        result = await call(**given)
        times.append((time.perf_counter() - start) * 1000)
        shared.look()
        del result, given
    return times


def say(message):
    """To `calls.ts`."""
    print(MARK + json.dumps(message), file=sys.__stdout__, flush=True)


async def serve(ready, cases):
    """Say what starting took, then do what is asked for, a line each: `{"case", "count"}`. A case is a function of count and Shared."""
    shared, known = Shared(), set()
    say(ready)
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = json.loads(line)
        warm = LATER if wanted["case"] in known else FIRST
        known.add(wanted["case"])
        shared.begin()
        times = await cases[wanted["case"]](wanted["count"] + warm, shared)
        shared.end()
        say(times[warm:] or times)
    say({"peak_shared_bytes": shared.peak})
    os._exit(0)  # workers end with it
