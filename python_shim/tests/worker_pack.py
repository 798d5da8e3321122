"""The pack of `worker_process.py`, and what stands for ComfyUI's GraphBuilder, as text."""

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
def Previews(self, count, side, pause=None, after=0):
    # with `pause` it makes that file after so many steps, and goes on when the file has gone
    import comfy.utils
    from PIL import Image
    bar = comfy.utils.ProgressBar(count)
    for step in range(count):
        bar.update_absolute(step + 1, count, ("JPEG", Image.new("RGB", (side, side), (step % 256, 0, 0)), side))
        time.sleep(0.021)
        if step + 1 == after:
            open(pause, "w").close()
            while os.path.exists(pause):
                time.sleep(0.005)
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
