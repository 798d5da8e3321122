"""A worker's process, with this one as its bridge and its ComfyUI; and a pack of nodes for it."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from python_shim.wire import PROTOCOL_VERSION
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.frames import FrameReader, pack
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Starts a worker with its links on descriptors 3 and 4, as the bridge does.
START = """
import os, sys
take, give = (int(word) for word in sys.argv[1:3])
take, give = os.dup(take), os.dup(give)
for fd, wanted in ((os.dup(take), 3), (os.dup(give), 4)):
    os.dup2(fd, wanted)
    os.set_inheritable(wanted, True)
os.execv(sys.executable, [sys.executable, sys.argv[3]])
"""
PACK = """
import asyncio, atexit, contextlib, os, threading, time
import comfy.utils

LOG = []

def node(function):
    body = {"INPUT_TYPES": classmethod(lambda cls: {"required": {}}), "RETURN_TYPES": ("*",), "FUNCTION": "run", "run": function}
    return type(function.__name__, (), body)

@node
async def Wait(self, seconds=0.0, name=""):
    LOG.append(f"begin {name}")
    await asyncio.sleep(seconds)
    LOG.append(f"end {name}")
    return (name,)

@node
def Block(self, seconds=0.0, name=""):
    LOG.append(f"begin {name}")
    time.sleep(seconds)
    LOG.append(f"end {name}")
    return (name,)

@node
def Log(self):
    said = list(LOG)
    LOG.clear()
    return (said,)

@node
async def LeaveTask(self, name, file=""):
    async def later():
        try:
            for step in range(100):
                await asyncio.sleep(0.02)
                LOG.append(f"{name} step")
        finally:
            LOG.append(f"{name} ended")
    self.task = asyncio.create_task(later())
    return (name,)

@node
async def Stubborn(self, name):
    import comfy.utils
    bar = comfy.utils.ProgressBar(1000)
    for step in range(1000):
        bar.update(1)
        await asyncio.sleep(0.05)
    return (name,)

@node
def Thread(self):
    import comfy.utils
    thread = threading.Thread(target=lambda: comfy.utils.ProgressBar(2).update(2))
    thread.start()
    thread.join()
    return ("done",)

@node
def Busy(self, seconds):
    import comfy.model_management
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.01)
        comfy.model_management.throw_exception_if_processing_interrupted()
    return ("to its end",)

class Held:
    def __del__(self):
        LOG.append(f"gone on {threading.current_thread().name}")

@node
def Count(self):
    if not hasattr(self, "count"):
        self.count, self.held = 0, Held()
    self.count += 1
    return (self.count,)

@node
async def CountSlowly(self):
    self.held = Held()
    await asyncio.sleep(0.3)
    LOG.append("done")
    return (1,)

class Thing:
    pass

@node
def MakeBad(self):
    thing = Thing()
    thing.held = Held()
    return (thing, (x for x in ()))

@node
def MakeThing(self):
    return (Thing(),)

@node
def UseThing(self, thing):
    return (type(thing).__name__,)

@node
def Send(self, event="shown", data=None, sid=None):
    from server import PromptServer
    PromptServer.instance.send_sync(event, data, sid)
    return ("sent",)

@node
def Steps(self, values):
    import comfy.utils
    for value in values:
        comfy.utils.PROGRESS_BAR_HOOK(value, 10, None)
    comfy.utils.PROGRESS_BAR_HOOK("many", 10, None)
    comfy.utils.PROGRESS_BAR_HOOK(10, 10, None)
    return ("done",)

@node
def Previews(self, count, side):
    import comfy.utils
    from PIL import Image
    bar = comfy.utils.ProgressBar(count)
    for step in range(count):
        bar.update_absolute(step + 1, count, ("JPEG", Image.new("RGB", (side, side), (step % 256, 0, 0)), side))
        time.sleep(0.021)
    return ("done",)

@node
def OnLoop(self):
    from server import PromptServer
    async def thread():
        return threading.current_thread().name
    return (asyncio.run_coroutine_threadsafe(thread(), PromptServer.instance.loop).result(5),)

@node
def Expand(self, seconds):
    import comfy_execution.graph_utils as graph, server
    time.sleep(seconds)
    return (graph.GraphBuilder().prefix, server.PromptServer.instance.last_node_id)

class Checked:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"cls": ("STRING",)}})
    RETURN_TYPES, FUNCTION = (), "run"

    @classmethod
    def VALIDATE_INPUTS(s, cls):
        return cls == "cat"

    @classmethod
    def IS_CHANGED(s, cls, self):
        return f"{cls} {self}"

    def run(s, cls, self):
        return (f"{cls} {self}",)

@node
def Write(self, file, hang=False):
    self.file = open(file, "w")
    self.file.write("in the buffer")
    atexit.register(lambda: open(file + ".atexit", "w").write("ran"))
    if hang:
        atexit.register(lambda: time.sleep(60))
    return ("written",)

NODE_CLASS_MAPPINGS = {name: value for name, value in list(globals().items()) if isinstance(value, type) and hasattr(value, "FUNCTION")}
"""
GRAPH = '''
"""As ComfyUI's comfy_execution/graph_utils.py."""
import types, sys

class GraphBuilder:
    root, index = "", 0
    def __init__(self):
        self.prefix = f"{GraphBuilder.root}.{GraphBuilder.index}."
    @classmethod
    def set_default_prefix(cls, root, index, graph_index=0):
        cls.root, cls.index = root, index

sys.modules.setdefault("comfy_execution", types.ModuleType("comfy_execution"))
made = sys.modules["comfy_execution.graph_utils"] = types.ModuleType("comfy_execution.graph_utils")
made.GraphBuilder = GraphBuilder
sys.modules["comfy_execution"].graph_utils = made
'''


class Tagged:
    """A handle on its way back."""

    def __init__(self, tag):
        self.tag = tag


class Worker:
    """A real process; this is the bridge, and ComfyUI."""

    def __init__(self, folder):
        (folder / "pack").mkdir()
        (folder / "pack" / "__init__.py").write_text(GRAPH + PACK)
        take, self.tasks = os.pipe()
        self.answers, give = os.pipe()
        command = [sys.executable, "-c", START, str(take), str(give), str(ROOT / "python_shim" / "worker")]
        environment = {**os.environ, "ENVMANAGER_PARENT": "0"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, pass_fds=(take, give), env=environment, **pipes)
        os.close(take)
        os.close(give)
        self._pipe, self._straight = FrameReader(), FrameReader()
        self.notes, self._done, self._number = [], {}, 0
        self.mapped, self.pool = MappedSegments(), SegmentPool()
        kinds = dict.fromkeys(("output", "input", "temp", "user", "base"), str(folder))
        folders = {"root": str(ROOT / "e2e" / "host"), "argv": ["--base-directory", str(folder)], "models": {}, **kinds}
        hello = {"protocol": PROTOCOL_VERSION, "worker": "p#1", "folders": folders, "socket": None, "calls": str(folder / "calls")}
        self.ask({"hello": hello})
        self.ask({"load": {"pack": "p", "dir": str(folder / "pack")}})
        self.link = socket.socket(socket.AF_UNIX)
        self.link.settimeout(20)
        self.link.connect(str(folder / "calls"))

    def ask(self, header, body=b""):
        self._number += 1
        number = self._number
        os.write(self.tasks, pack({"id": number, **header}, body))
        while True:
            for found, content in self._pipe.feed(os.read(self.answers, 1 << 18)):
                if found["id"] == number and "progress" not in found and "event" not in found:
                    assert "error" not in found, found
                    return found, content
                self.notes.append(found)

    def start(self, name, kwargs=None, straight=True, **call):
        """Begin a call; its number."""
        self._number += 1
        given = {"call": f"c{self._number}", "pack": "p", "class": name, "method": "FUNCTION", "node": str(self._number), "prompt": "one"}
        body = json.dumps(Encoder(self.pool, lambda value, path: value.tag).encode(kwargs or {}, "x")).encode()
        frame = pack({"id": self._number, "call": {**given, **call}}, body)
        self.link.sendall(frame) if straight else os.write(self.tasks, frame)
        return self._number

    def wait(self, number):
        """A straight call's result, or its error's code."""
        while number not in self._done:
            for header, body in self._straight.feed(self.link.recv(1 << 18)):
                if "id" in header:
                    self._done[header["id"]] = (header, body)
                else:
                    self.notes.append(header)
        header, body = self._done.pop(number)
        if "error" in header:
            return header["error"]["code"]
        value = Decoder(self.mapped, lambda tag: tag).decode(json.loads(body))
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    def run(self, name, kwargs=None, **call):
        return self.wait(self.start(name, kwargs, **call))

    def tell(self, method, **params):
        self.process.stdin.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
        self.process.stdin.flush()

    def request(self, method, **params):
        """On the lines, as the bridge's."""
        self.process.stdin.write(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
        self.process.stdin.flush()

    def line(self):
        return json.loads(self.process.stdout.readline())

    def shown(self, kind):
        return [note[kind] for note in self.notes if kind in note]

    def end(self):
        """As the bridge ends a worker: seconds until it has ended."""
        began = time.monotonic()
        os.close(self.tasks)
        self.link.close()
        self.process.wait(10)
        return time.monotonic() - began

    def close(self):
        with contextlib.suppress(OSError):
            os.close(self.tasks)
        self.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        self.process.kill()
        self.process.communicate()
        self.pool.close()
