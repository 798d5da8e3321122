"""`python e2e/soak.py [MINUTES] [CALLS]`: many calls of mixed size over four workers, with kills; at the end nothing may have grown.

Runs the real shim, bridge and workers. Prints a line every minute and a verdict; exit code 1 if an answer was wrong or something grew.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from python_shim.shim.bridge_process import BridgeProcess  # noqa: E402
from python_shim.shim.calls import Calls  # noqa: E402
from python_shim.shim.client import BridgeClient  # noqa: E402
from python_shim.shim.proxy import make_proxy  # noqa: E402

PACK = """
def node(returns, function, **inputs):
    body = {
        "INPUT_TYPES": classmethod(lambda cls: {"required": {name: (kind,) for name, kind in inputs.items()}}),
        "RETURN_TYPES": (returns,), "FUNCTION": "run", "CATEGORY": "soak", "run": lambda self, **given: (function(**given),),
    }
    return type("Soak", (), body)

class Thing:
    pass

def echo(value):
    print("a line of log")
    return value

NODE_CLASS_MAPPINGS = {
    "Add": node("INT", lambda value: value + 1, value="INT"),
    "Twice": node("IMAGE", lambda image: image * 2, image="IMAGE"),
    "Echo": node("*", echo, value="*"),
    "Make": node("THING", lambda value: Thing(), value="INT"),
    "Take": node("STRING", lambda thing: type(thing).__name__, thing="THING"),
}
"""
WORKERS = 4
SIZES = ((8, 8), (64, 64), (512, 512), (1024, 1024), (2048, 2048))


def memory(pid):
    """RSS of a process in MiB; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) >> 10
    return 0


def descriptors(pid):
    try:
        return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


class Soak:
    """Calls, kills, and what is looked at meanwhile."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        packs = self.folder / "comfyui" / "custom_nodes"
        self.names = [f"soak-{number}" for number in range(WORKERS)]
        for name in self.names:
            (packs / name).mkdir(parents=True)
            (packs / name / "__init__.py").write_text(PACK)
        ready, linked = threading.Event(), threading.Event()
        self.calls = Calls()
        self.pids = {}
        self.process = BridgeProcess(self.folder / "home", str(packs.parent), ready.set, lambda: None)
        hears = {"lease.release": self.calls.release, "worker.gone": self._gone, "pack.loaded": lambda params: None}
        self.client = BridgeClient(self.process, {}, hears, linked.set, self.calls.bridge_gone)
        self.calls.use(self.client, self.process.connection)
        self.process.start()
        assert ready.wait(30)
        self.client.connect()
        assert linked.wait(30)
        self.made = {"calls": 0, "kills": 0, "deaths": 0, "wrong": 0}
        self.random = random.Random(5)
        self.kept = []

    def _gone(self, params):
        self.made["deaths"] += 1
        self.calls.worker_gone(params)

    async def load(self, name):
        report = await asyncio.wrap_future(self.client.request("pack.load", {"pack": name}))
        return {spec["name"]: make_proxy(self.calls, name, spec)() for spec in report["classes"]}

    async def one(self, nodes):
        """One call somewhere; counts what is not as it should be."""
        chosen = self.random.choice(list(nodes.values()))
        other = self.random.choice(list(nodes.values()))
        kind = self.random.choices(("add", "twice", "chain", "echo", "thing"), (4, 4, 2, 2, 1))[0]
        try:
            right = await getattr(self, f"_{kind}")(chosen, other)
        except Exception as error:  # noqa: BLE001 - a kill, as it is meant to be told
            right = any(word in str(error) for word in ("SIGKILL", "ended", "crashed", "gone", "worker"))
            if not right:
                print(f"unexpected: {type(error).__name__}: {error}", flush=True)
        self.made["calls"] += 1
        self.made["wrong"] += not right

    def _image(self):
        height, width = self.random.choices(SIZES, (8, 8, 6, 3, 1))[0]
        return torch.full((1, height, width, 3), self.random.random())

    async def _add(self, chosen, other):
        number = self.random.randrange(1 << 40)
        return await chosen["Add"].run(value=number) == (number + 1,)

    async def _twice(self, chosen, other):
        image = self._image()
        (result,) = await chosen["Twice"].run(image=image)
        self.kept = [*self.kept[-15:], result]  # as ComfyUI's cache does
        return bool(torch.equal(result, image * 2))

    async def _chain(self, chosen, other):
        image = self._image()
        (first,) = await chosen["Twice"].run(image=image)
        (second,) = await other["Twice"].run(image=first)
        return bool(torch.equal(second, image * 4)) and bool(torch.equal(first, image * 2))

    async def _echo(self, chosen, other):
        value = {"text": "x" * self.random.randrange(1 << 18), "list": list(range(self.random.randrange(2000))), "image": self._image()}
        (result,) = await chosen["Echo"].run(value=value)
        return result["text"] == value["text"] and result["list"] == value["list"] and bool(torch.equal(result["image"], value["image"]))

    async def _thing(self, chosen, other):
        (thing,) = await chosen["Make"].run(value=1)
        return await chosen["Take"].run(thing=thing) == ("Thing",)

    def kill(self):
        """One worker, whatever it does."""
        bridge = self.process._process.pid
        children = [int(pid) for pid in pathlib.Path(f"/proc/{bridge}/task/{bridge}/children").read_text(encoding="utf-8").split()]
        workers = [pid for pid in children if b"worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        if workers:
            os.kill(self.random.choice(workers), signal.SIGKILL)
            self.made["kills"] += 1

    def look(self):
        """What must not grow."""
        bridge = self.process._process.pid
        logs = sum(path.stat().st_size for path in (self.folder / "home" / "logs").glob("*"))
        return {
            "shim_fds": descriptors(os.getpid()),
            "bridge_fds": descriptors(bridge),
            "shim_mib": memory(os.getpid()),
            "bridge_mib": memory(bridge),
            "leased_mib": self.calls.pool.usage()[0] >> 20,
            "dev_shm": len(list(pathlib.Path("/dev/shm").iterdir())),
            "log_kib": logs >> 10,
        }


async def main(minutes, calls):
    folder = tempfile.mkdtemp(prefix="envmanager-soak-")
    soak = Soak(folder)
    nodes = {name: await soak.load(name) for name in soak.names}
    start, next_kill, next_look, looks = time.monotonic(), 60.0, 60.0, []
    while soak.made["calls"] < calls:
        due = minutes * 60 * soak.made["calls"] / calls
        now = time.monotonic() - start
        if now < due:
            await asyncio.sleep(due - now)
        await asyncio.gather(soak.one(nodes), soak.one(nodes))
        now = time.monotonic() - start
        if now > next_kill:
            soak.kill()
            next_kill += 150
        if now > next_look:
            looks.append(soak.look())
            print(f"{now / 60:.0f} min {soak.made} {looks[-1]}", flush=True)
            next_look += 60
    soak.kept = []
    looks.append(soak.look())
    early = looks[min(len(looks) - 1, max(4, len(looks) // 6))]
    grown = {key: (early[key], looks[-1][key]) for key in ("shim_fds", "bridge_fds", "dev_shm") if looks[-1][key] > early[key] * 1.3 + 16}
    grown |= {
        key: (early[key], looks[-1][key]) for key in ("shim_mib", "bridge_mib", "leased_mib") if looks[-1][key] > early[key] * 1.3 + 150
    }
    print(json.dumps({"made": soak.made, "early": early, "late": looks[-1], "grown": grown}), flush=True)
    soak.process._process.stdin.close()
    soak.process._process.wait(20)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1 if grown or soak.made["wrong"] else 0)


asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60, int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))
