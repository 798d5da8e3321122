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
#: So many calls at the beginning of each turn are not counted: memory that was given back while others had their turn comes slowly.
WARM = 5


def image(size, device="cpu"):
    """A fresh one, as a graph makes them."""
    return torch.rand(1, *IMAGES[size], 3, device=device)


def images(size, device="cpu"):
    """Makes the keyword arguments of a call: a fresh image each."""
    return lambda: {"image": image(size, device)}


def finish():
    """Wait for what the GPU still does, if there is one in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Shared:
    """The most of the system's shared memory (Linux: Shmem in /proc/meminfo) that came within one turn of this side, in bytes."""

    def __init__(self):
        self.peak = 0
        self._start = self._now()

    def _now(self):
        try:
            lines = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Shmem:")), 0)

    def begin(self):
        """What is there now may be of others."""
        self._start = self._now()

    def look(self):
        """Between two calls."""
        self.peak = max(self.peak, self._now() - self._start)


async def measure(call, make, count, shared):
    """Milliseconds of each of so many calls."""
    times = []
    for _ in range(count):
        given = make()
        finish()
        start = time.perf_counter()
        result = await call(**given)
        finish()
        times.append((time.perf_counter() - start) * 1000)
        shared.look()
        del result, given
    return times


def say(message):
    """To `calls.ts`."""
    print(MARK + json.dumps(message), file=sys.__stdout__, flush=True)


async def serve(ready, cases):
    """Say what starting took, then do what is asked for, a line each: `{"case", "count"}`. A case is a function of count and Shared."""
    shared = Shared()
    say(ready)
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = json.loads(line)
        shared.begin()
        times = await cases[wanted["case"]](wanted["count"] + WARM, shared)
        say(times[WARM:] or times)
    say({"peak_shared_bytes": shared.peak})
    os._exit(0)  # workers end with it
