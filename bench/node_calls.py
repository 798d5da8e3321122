"""Times calls of a node through shim, bridge and worker: `node_calls.py HOME PACKS`. Prints one JSON object, milliseconds.

Runs the real shim, bridge and worker; only ComfyUI's executor is left out, as its part is the same in-process.
"""

import asyncio
import json
import mmap
import pathlib
import sys
import threading
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
HOME, PACKS = sys.argv[1], sys.argv[2]

from python_shim.shim.bridge_process import BridgeProcess  # noqa: E402
from python_shim.shim.calls import Calls  # noqa: E402
from python_shim.shim.client import BridgeClient  # noqa: E402


def percentiles(times):
    ordered = sorted(times)
    return {"p50": ordered[len(ordered) // 2] * 1000, "p95": ordered[int(len(ordered) * 0.95)] * 1000}


def floor(nbytes, count):
    """One copy of the bytes into warm shared memory: what no design can go below, one way."""
    room = torch.frombuffer(mmap.mmap(-1, nbytes), dtype=torch.uint8)
    data = torch.ones(nbytes, dtype=torch.uint8)
    times = []
    for _ in range(count + 2):
        start = time.perf_counter()
        room.copy_(data)
        times.append(time.perf_counter() - start)
    return percentiles(times[2:])


async def measure(calls, cls, make, count):
    times = []
    for _ in range(count + 5):
        kwargs = make()
        start = time.perf_counter()
        result = await calls.run("bench-pack", cls, "FUNCTION", "1", None, kwargs)
        times.append(time.perf_counter() - start)
        del result, kwargs
    return percentiles(times[5:])


async def main():
    calls, ready, linked = Calls(), threading.Event(), threading.Event()
    started = time.perf_counter()
    process = BridgeProcess(pathlib.Path(HOME), PACKS, ready.set, lambda: None)
    client = BridgeClient(process, {}, {"lease.release": calls.release}, linked.set, lambda: None)
    calls.client = client
    process.start()
    assert ready.wait(30)
    bridge = time.perf_counter() - started
    client.connect()
    assert linked.wait(30)
    cold = time.perf_counter()
    await calls.run("bench-pack", "BenchInt", "FUNCTION", "1", None, {"value": 1})
    cold = time.perf_counter() - cold

    def image(height, width):
        return lambda: {"image": torch.rand(1, height, width, 3)}

    results = {
        "bridge-start": {"ours": {"p50": bridge * 1000, "p95": bridge * 1000}},
        "worker-start-to-first-call": {"ours": {"p50": cold * 1000, "p95": cold * 1000}},
        "call-int": {"ours": await measure(calls, "BenchInt", lambda: {"value": 7}, 300)},
        "image-3mb": {"ours": await measure(calls, "BenchImage", image(512, 512), 100), "floor": floor(3 << 20, 50)},
        "image-50mb": {"ours": await measure(calls, "BenchImage", image(2048, 2048), 30), "floor": floor(48 << 20, 20)},
        "image-400mb": {"ours": await measure(calls, "BenchImage", image(5910, 5910), 8), "floor": floor(400 << 20, 5)},
    }
    print(json.dumps(results))


asyncio.run(main())
