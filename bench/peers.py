"""Times the same calls through another library: `peers.py comfy-env|pyisolate FOLDER`, asked by `calls.ts`.

Each is used as its own documentation and tests do inside ComfyUI, with one worker process on this very interpreter, so that torch
and numpy are equal. Inputs are fresh tensors, as a graph makes them.
"""

import asyncio
import functools
import importlib
import pathlib
import sys
import time

import torch
from timing import IMAGES, image, images, measure, serve

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
                "share_cuda_ipc": torch.cuda.is_available(),
                "sandbox_mode": pyisolate.SandboxMode.DISABLED,
            }
        )

    def call(self, method, value):
        return getattr(self._extension.proxy, method)(*value.values())

    call_in_thread = call


async def hand_over(first, second, count, shared):
    """What the second worker's call costs with the first one's result."""
    times = []
    for _ in range(count):
        made = await first.call("times_one", {"image": image("50mb")})
        times += await measure(lambda made: second.call("look", {"image": made}), lambda made=made: {"made": made}, 1, shared)
        del made
    return times


async def side_by_side(one, two, count, shared):
    start = time.perf_counter()
    await asyncio.gather(one.call_in_thread("wait", {"seconds": 1.0}), two.call_in_thread("wait", {"seconds": 1.0}))
    return [(time.perf_counter() - start) * 1000]


async def main(kind, folder):
    start = time.perf_counter()
    one = kind(folder, "bench_one")
    await one.call("add_one", {"value": 1})
    ready = {"worker-start": (time.perf_counter() - start) * 1000}
    two = kind(folder, "bench_two")
    await two.call("add_one", {"value": 1})

    def call(worker, method, make):
        return lambda count, shared: measure(lambda **given: worker.call(method, given), make, count, shared)

    cases = {"call-int": call(one, "add_one", lambda: {"value": 7})}
    for size in IMAGES:
        cases[f"image-{size}"] = call(one, "times_one", images(size))
        cases[f"echo-{size}"] = call(one, "echo", images(size))
        if torch.cuda.is_available():
            cases[f"gpu-{size}"] = call(one, "times_one", images(size, "cuda"))
    cases["chain-50mb"] = functools.partial(hand_over, one, two)
    cases["fresh-50mb"] = call(two, "look", images("50mb"))
    cases["two-nodes"] = functools.partial(side_by_side, one, two)
    await serve(ready, cases)


if __name__ == "__main__":
    chosen = {"comfy-env": ComfyEnv, "pyisolate": PyIsolate}[sys.argv[1]]
    asyncio.run(main(chosen, pathlib.Path(sys.argv[2])))
