"""Times the same calls through another library: `peers.py comfy-env|pyisolate FOLDER`. Prints one JSON object, milliseconds.

Each is used as its own documentation and tests do inside ComfyUI, with one worker process on this very interpreter, so that torch
and numpy are equal. Inputs are fresh tensors, as a graph makes them.
"""

import asyncio
import importlib
import json
import os
import pathlib
import sys
import time

import torch
from timing import CASES, Shared, percentiles

NODES = """
import time
import torch

def add_one(value):
    return value + 1

def times_one(image):
    return image * 1

def echo(image):
    return image

def look(image):
    return image.shape[1]

def wait(seconds):
    time.sleep(seconds)
    return seconds
"""


class ComfyEnv:
    """comfy-env: a SubprocessWorker, its calls bracketed as its own proxy does."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        from comfy_env.isolation.workers.subprocess import SubprocessWorker

        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench_nodes.py").write_text(NODES)
        self._worker = SubprocessWorker(python=sys.executable, working_dir=folder, sys_path=[str(folder)], name=name)

    async def call(self, method, value):
        self._worker.begin_call()
        try:
            return self._worker.call_module("bench_nodes", method, timeout=120, **value)
        finally:
            self._worker.end_call()

    def call_in_thread(self, method, value):
        return asyncio.to_thread(lambda: self._worker.call_module("bench_nodes", method, timeout=120, **value))


class PyIsolate:
    """pyisolate: a host-coupled extension that shares torch, the fastest of its modes."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        import pyisolate

        package = folder / name
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("")
        # the class is imported by its name on both sides; the child gets this process's path
        methods = (("add_one", "value"), ("times_one", "image"), ("echo", "image"), ("look", "image"), ("wait", "seconds"))
        text = "".join(f"    async def {method}(self, {arg}):\n        return {method}({arg})\n" for method, arg in methods)
        (folder / "bench_api.py").write_text(f"import pyisolate\n{NODES}\nclass Bench(pyisolate.ExtensionBase):\n{text}")
        sys.path.insert(0, str(folder))
        api = importlib.import_module("bench_api").Bench
        manager = pyisolate.ExtensionManager(api, {"venv_root_path": str(folder / "venvs")})
        self._extension = manager.load_extension(
            {
                "name": name,
                "module_path": str(package),
                "isolated": True,
                "dependencies": [],
                "apis": [],
                "share_torch": True,
                "share_cuda_ipc": False,
                "sandbox_mode": pyisolate.SandboxMode.DISABLED,
            }
        )

    def call(self, method, value):
        return getattr(self._extension.proxy, method)(*value.values())

    call_in_thread = call


async def measure(peer, method, make, count, shared):
    times = []
    for _ in range(count + 5):
        given = make()
        start = time.perf_counter()
        result = await peer.call(method, given)
        times.append(time.perf_counter() - start)
        shared.look()
        del result, given
    return percentiles(times[5:])


async def hand_over(first, second, count, fresh):
    """What the second worker's call costs, with the first one's result, or with a tensor of the host's own."""
    times = []
    for _ in range(count + 3):
        image = torch.rand(1, 2048, 2048, 3)
        if not fresh:
            image = await first.call("times_one", {"image": image})
        start = time.perf_counter()
        assert await second.call("look", {"image": image}) == 2048
        times.append(time.perf_counter() - start)
        del image
    return percentiles(times[3:])


async def main(kind, folder):
    start = time.perf_counter()
    peer = kind(folder, "bench_one")
    await peer.call("add_one", {"value": 1})
    results = {"worker-start": percentiles([time.perf_counter() - start])}
    shared = Shared()
    results["call-int"] = await measure(peer, "add_one", lambda: {"value": 7}, 300, shared)
    for name, height, width, count in CASES:
        make = lambda h=height, w=width: {"image": torch.rand(1, h, w, 3)}  # noqa: E731
        results[name] = await measure(peer, "times_one", make, count, shared)
        results[name.replace("image", "echo")] = await measure(peer, "echo", make, count, shared)
    other = kind(folder, "bench_two")
    await other.call("add_one", {"value": 1})
    results["chain-50mb"] = await hand_over(peer, other, 20, fresh=False)
    results["fresh-50mb"] = await hand_over(peer, other, 20, fresh=True)
    start = time.perf_counter()
    await asyncio.gather(peer.call_in_thread("wait", {"seconds": 1.0}), other.call_in_thread("wait", {"seconds": 1.0}))
    results["two-nodes"] = percentiles([time.perf_counter() - start])
    print(json.dumps({"times": results, "peak_shared_bytes": shared.peak}), file=sys.__stdout__, flush=True)
    os._exit(0)  # their workers end with it


if __name__ == "__main__":
    chosen = {"comfy-env": ComfyEnv, "pyisolate": PyIsolate}[sys.argv[1]]
    asyncio.run(main(chosen, pathlib.Path(sys.argv[2])))
