"""Times calls of a node through proxy, shim, bridge and worker: `node_calls.py FOLDER`, asked by `calls.ts`.

Runs the real shim, bridge and worker, and the proxy classes that ComfyUI would call; only ComfyUI's executor is left out, as its part
is the same in-process. `peers.py` times the same through other libraries.
"""

import asyncio
import functools
import mmap
import pathlib
import sys
import threading
import time

import torch
from timing import IMAGES, image, images, measure, serve

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


async def floor(size, count, shared):
    """One copy of the bytes into warm shared memory: what no design can go below, one way."""
    height, width = IMAGES[size]
    room = torch.frombuffer(mmap.mmap(-1, height * width * 12), dtype=torch.uint8)

    async def copy(data):
        room.copy_(data)

    return await measure(copy, lambda: {"data": torch.ones(len(room), dtype=torch.uint8)}, count, shared)


async def gpu_floor(size, count, shared):
    """One copy of the bytes on the GPU."""

    async def copy(image):
        return image.clone()

    return await measure(copy, images(size, "cuda"), count, shared)


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


async def hand_over(first, second, count, shared):
    """What the second worker's call costs with the first one's result."""
    times = []
    for _ in range(count):
        (made,) = await first.run(image=image("50mb"))
        times += await measure(second.run, lambda made=made: {"image": made}, 1, shared)
        del made
    return times


async def side_by_side(one, two, count, shared):
    start = time.perf_counter()
    await asyncio.gather(one.run(seconds=1.0), two.run(seconds=1.0))
    return [(time.perf_counter() - start) * 1000]


async def main(folder):
    ours = Ours(folder)
    ready = {"bridge-start": ours.start() * 1000}
    start = time.perf_counter()
    one = await ours.nodes("bench-one")
    await one["AddOne"].run(value=1)
    ready["worker-start"] = (time.perf_counter() - start) * 1000
    two = await ours.nodes("bench-two")

    def call(node, make):
        return lambda count, shared: measure(node.run, make, count, shared)

    cases = {"call-int": call(one["AddOne"], lambda: {"value": 7})}
    for size in IMAGES:
        cases[f"image-{size}"] = call(one["TimesOne"], images(size))
        cases[f"echo-{size}"] = call(one["Echo"], images(size))
        cases[f"floor-{size}"] = functools.partial(floor, size)
        if torch.cuda.is_available():
            cases[f"gpu-{size}"] = call(one["TimesOne"], images(size, "cuda"))
            cases[f"gpu-floor-{size}"] = functools.partial(gpu_floor, size)
    cases["chain-50mb"] = functools.partial(hand_over, one["TimesOne"], two["Look"])
    cases["fresh-50mb"] = call(two["Look"], images("50mb"))
    cases["two-nodes"] = functools.partial(side_by_side, one["Wait"], two["Wait"])
    await serve(ready, cases)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
