"""Times calls of a node through proxy, shim, bridge and worker: `node_calls.py FOLDER`. Prints one JSON object, milliseconds.

Runs the real shim, bridge and worker, and the proxy classes that ComfyUI would call; only ComfyUI's executor is left out, as its part
is the same in-process. `peers.py` times the same through other libraries.
"""

import asyncio
import json
import mmap
import os
import pathlib
import sys
import threading
import time

import torch
from timing import CASES, Shared, percentiles

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from python_shim.shim.bridge_process import BridgeProcess  # noqa: E402
from python_shim.shim.calls import Calls  # noqa: E402
from python_shim.shim.client import BridgeClient  # noqa: E402
from python_shim.shim.proxy import make_proxy  # noqa: E402

PACK = """
import time
import torch

def node(returns, function, **inputs):
    body = {
        "INPUT_TYPES": classmethod(lambda cls: {"required": {name: (kind,) for name, kind in inputs.items()}}),
        "RETURN_TYPES": (returns,), "FUNCTION": "run", "CATEGORY": "bench", "run": lambda self, **given: (function(**given),),
    }
    return type("Bench", (), body)

def wait(seconds):
    time.sleep(seconds)
    return seconds

NODE_CLASS_MAPPINGS = {
    "AddOne": node("INT", lambda value: value + 1, value="INT"),
    "TimesOne": node("IMAGE", lambda image: image * 1, image="IMAGE"),
    "Echo": node("IMAGE", lambda image: image, image="IMAGE"),
    "Look": node("INT", lambda image: image.shape[1], image="IMAGE"),
    "Wait": node("FLOAT", wait, seconds="FLOAT"),
}
"""


def floor(nbytes, count):
    """One copy of the bytes into warm shared memory: what no design can go below, one way."""
    room = torch.frombuffer(mmap.mmap(-1, nbytes), dtype=torch.uint8)
    times = []
    for _ in range(count + 2):
        data = torch.ones(nbytes, dtype=torch.uint8)
        start = time.perf_counter()
        room.copy_(data)
        times.append(time.perf_counter() - start)
    return percentiles(times[2:])


class Ours:
    """The product without ComfyUI: two packs, so two workers."""

    def __init__(self, folder):
        self._packs = pathlib.Path(folder) / "comfyui" / "custom_nodes"
        for name in ("bench-one", "bench-two"):
            (self._packs / name).mkdir(parents=True)
            (self._packs / name / "__init__.py").write_text(PACK)
        self._ready, self._linked = threading.Event(), threading.Event()
        self.calls = Calls()
        self._process = BridgeProcess(pathlib.Path(folder) / "home", str(self._packs.parent), self._ready.set, lambda: None)
        hears = {"lease.release": self.calls.release, "worker.gone": self.calls.worker_gone, "pack.loaded": lambda params: None}
        self._client = BridgeClient(self._process, {}, hears, self._linked.set, lambda: None)
        self.calls.use(self._client, self._process.connection)

    def start(self):
        """Seconds until the bridge serves."""
        start = time.perf_counter()
        self._process.start()
        assert self._ready.wait(30)
        took = time.perf_counter() - start
        self.calls.bridge_ready()
        self._client.connect()
        assert self._linked.wait(30)
        return took

    async def nodes(self, pack):
        """An instance of each node class of the pack, as ComfyUI would make it."""
        report = await asyncio.wrap_future(self._client.request("pack.load", {"pack": pack}))
        return {spec["name"]: make_proxy(self.calls, pack, spec)() for spec in report["classes"]}


async def measure(node, make, count, shared):
    times = []
    for _ in range(count + 5):
        given = make()
        start = time.perf_counter()
        result = await node.run(**given)
        times.append(time.perf_counter() - start)
        shared.look()
        del result, given
    return percentiles(times[5:])


async def hand_over(first, second, count, fresh):
    """What the second worker's call costs, with the first one's result, or with a tensor of ComfyUI's own."""
    times = []
    for _ in range(count + 3):
        image = torch.rand(1, 2048, 2048, 3)
        if not fresh:
            (image,) = await first.run(image=image)
        start = time.perf_counter()
        assert await second.run(image=image) == (2048,)
        times.append(time.perf_counter() - start)
        del image
    return percentiles(times[3:])


async def parallel(one, two):
    start = time.perf_counter()
    await asyncio.gather(one.run(seconds=1.0), two.run(seconds=1.0))
    return percentiles([time.perf_counter() - start])


async def main(folder):
    ours = Ours(folder)
    results = {"bridge-start": percentiles([ours.start()])}
    start = time.perf_counter()
    one = await ours.nodes("bench-one")
    await one["AddOne"].run(value=1)
    results["worker-start"] = percentiles([time.perf_counter() - start])
    shared = Shared()
    results["call-int"] = await measure(one["AddOne"], lambda: {"value": 7}, 300, shared)
    for name, height, width, count in CASES:
        make = lambda h=height, w=width: {"image": torch.rand(1, h, w, 3)}  # noqa: E731
        results[name] = await measure(one["TimesOne"], make, count, shared)
        results[name.replace("image", "echo")] = await measure(one["Echo"], make, count, shared)
    two = await ours.nodes("bench-two")
    results["chain-50mb"] = await hand_over(one["TimesOne"], two["Look"], 20, fresh=False)
    results["fresh-50mb"] = await hand_over(one["TimesOne"], two["Look"], 20, fresh=True)
    results["two-nodes"] = await parallel(one["Wait"], two["Wait"])
    floors = {name: floor(height * width * 12, count) for name, height, width, count in CASES}
    print(json.dumps({"times": results, "floors": floors, "peak_shared_bytes": shared.peak}), flush=True)
    os._exit(0)


asyncio.run(main(sys.argv[1]))
