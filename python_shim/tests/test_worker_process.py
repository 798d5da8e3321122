"""A worker's process as the bridge and ComfyUI see it: async nodes, node objects, what nodes show, and its end."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from python_shim.wire import PROTOCOL_VERSION
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.frames import FrameReader, pack
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

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
        body = json.dumps(Encoder(self.pool, lambda value, path: value).encode(kwargs or {}, "x")).encode()
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


@pytest.fixture
def worker(tmp_path):
    made = Worker(tmp_path)
    yield made
    made.close()
    os.close(made.answers)


def test_async_nodes_run_beside_each_other(worker):
    began = time.monotonic()
    calls = [worker.start("Wait", {"seconds": 0.25, "name": str(n)}, straight=n % 2 == 0) for n in range(32)]
    assert [worker.wait(number) for number in calls[::2]] == [str(n) for n in range(0, 32, 2)]
    worker.ask({"folders": {"root": "", "models": {}, **dict.fromkeys(("output", "input", "temp", "user"), "/tmp")}})
    assert time.monotonic() - began < 1.5


def test_what_is_not_async_runs_alone_and_in_order(worker):
    calls = [worker.start("Wait", {"seconds": 0.1, "name": "async"}), worker.start("Block", {"seconds": 0.3, "name": "first"})]
    calls += [worker.start("Block", {"name": "second"}), worker.start("Wait", {"name": "quick"})]
    assert [worker.wait(number) for number in calls] == ["async", "first", "second", "quick"]
    order = ["begin async", "begin first", "end first", "begin second", "end second"]
    assert worker.run("Log")[: len(order)] == order


def test_what_an_async_node_leaves_running_lives_until_its_prompt_ends(worker):
    worker.run("LeaveTask", {"name": "a"}, prompt="one")
    worker.run("LeaveTask", {"name": "b"}, prompt="two")
    time.sleep(0.15)  # nothing comes meanwhile, and they go on
    assert {"a step", "b step"} <= set(worker.run("Log", prompt="two"))
    worker.tell("prompt.ended", prompt="one")
    time.sleep(0.1)
    assert "a ended" in worker.run("Log", prompt="two")
    time.sleep(0.1)
    assert set(worker.run("Log", prompt="two")) == {"b step"}


def test_a_cancel_reaches_its_own_call_only(worker):
    slow, other = worker.start("Wait", {"seconds": 30, "name": "slow"}), worker.start("Wait", {"seconds": 0.4, "name": "other"})
    time.sleep(0.1)
    worker.tell("call.cancel", call=f"c{slow}")
    assert worker.wait(slow) == "NODE_INTERRUPTED"
    assert worker.wait(other) == "other"
    busy = worker.start("Busy", {"seconds": 30})
    time.sleep(0.1)
    worker.tell("call.cancel", call=f"c{busy}")
    assert worker.wait(busy) == "NODE_INTERRUPTED"
    assert worker.run("Busy", {"seconds": 0.05}) == "to its end"


def test_comfyuis_interrupt_flag_is_not_raised_for_a_call_beside_the_one_that_runs(worker):
    waiting, busy = worker.start("Wait", {"seconds": 30}), worker.start("Busy", {"seconds": 0.5})
    time.sleep(0.2)
    worker.tell("call.cancel", call=f"c{waiting}")
    assert worker.wait(busy) == "to its end"
    assert worker.wait(waiting) == "NODE_INTERRUPTED"


def test_progress_belongs_to_the_call_whose_code_tells_it(worker):
    calls = [worker.start("Stubborn", {"name": name}) for name in "ab"]
    time.sleep(0.3)
    worker.tell("call.cancel", call=f"c{calls[0]}")
    assert worker.wait(calls[0]) == "NODE_INTERRUPTED"
    told = {note["call"]: note["value"] for note in worker.shown("progress")}
    assert told.keys() == {f"c{number}" for number in calls} and min(told.values()) >= 2
    worker.tell("call.cancel", call=f"c{calls[1]}")
    assert worker.wait(calls[1]) == "NODE_INTERRUPTED"
    thread = worker.start("Thread")
    assert worker.wait(thread) == "done"
    assert worker.shown("progress")[-1] == {"call": f"c{thread}", "value": 2.0, "total": 2.0}


def test_calls_that_wait_when_the_link_ends_are_answered(worker):
    number = worker.start("Wait", {"seconds": 0.3, "name": "late"})
    worker.link.shutdown(socket.SHUT_WR)
    os.close(worker.tasks)
    assert worker.wait(number) == "late"
    assert worker.process.wait(5) == 0


def test_a_node_object_lives_as_long_as_comfyuis_and_ends_on_the_main_thread(worker):
    assert [worker.run("Count", node="7", instance=name) for name in ("x", "x", "y")] == [1, 2, 1]
    assert [worker.run("Count", node="7"), worker.run("Count", node="7")] == [1, 2]
    worker.tell("instance.release", instances=["x", "unknown"])
    time.sleep(0.2)
    assert worker.run("Log") == ["gone on MainThread"]
    assert [worker.run("Count", node="7", instance=name) for name in ("y", "x")] == [2, 1]
    slow = worker.start("CountSlowly", instance="z")
    time.sleep(0.1)
    worker.tell("instance.release", instances=["z"])
    assert worker.wait(slow) == 1
    assert worker.run("Log") == ["done", "gone on MainThread"]


def test_handles_of_another_process_are_told_from_ours(worker):
    tag = worker.run("MakeThing")
    assert worker.run("UseThing", {"thing": Tagged(tag)}) == "Thing"
    assert worker.run("UseThing", {"thing": Tagged({**tag, "owner": "before"})}) == "HANDLE_GONE"
    assert worker.run("UseThing", {"thing": Tagged({**tag, "owner": "before", "worker": "q#1"})}) == "HANDLE_FOREIGN"
    worker.tell("handle.release", handles=[tag["id"]])
    time.sleep(0.1)
    assert worker.run("UseThing", {"thing": Tagged(tag)}) == "HANDLE_GONE"


def test_handles_of_a_result_that_cannot_be_sent_are_dropped(worker):
    assert worker.run("MakeBad") == "VALUE_NOT_PORTABLE"
    assert worker.run("Log") == ["gone on MainThread"]


class Tagged:
    """A handle on its way back."""

    def __init__(self, tag):
        self.tag = tag


@pytest.fixture(autouse=True)
def _tags(monkeypatch):
    plain = Encoder.__init__
    monkeypatch.setattr(Encoder, "__init__", lambda self, pool, *args, **more: plain(self, pool, lambda value, path: value.tag))


def test_a_check_beside_a_node_changes_nothing_of_it(worker):
    alone = worker.run("Expand", {"seconds": 0.0}, node="42", index=1)
    assert alone == ("42.1.", "42")
    number = worker.start("Expand", {"seconds": 0.4}, node="42", index=1)
    time.sleep(0.15)
    call = {"call": "side", "pack": "p", "class": "Checked", "method": "VALIDATE_INPUTS", "node": "9", "prompt": None}
    worker.request("side.call", call=call, kwargs={"$": "dict", "v": [["cls", "cat"]]})
    assert worker.line() == {"id": 1, "result": {"value": True}}
    assert worker.wait(number) == alone


def test_inputs_may_be_called_cls_and_self(worker):
    assert worker.run("Checked", {"cls": "cat", "self": "me"}) == "cat me"
    assert worker.run("Checked", {"cls": "cat", "self": "me"}, method="IS_CHANGED") == "cat me"


@pytest.mark.parametrize("straight", [True, False])
def test_an_event_with_much_data_crosses(worker, straight):
    data = {"points": list(range(300_000))}
    if straight:
        worker.run("Send", {"data": data})
    else:
        worker.start("Send", {"data": data}, straight=False)
        worker.ask({})
    (event,) = worker.shown("event")
    text = Decoder(worker.mapped, lambda tag: tag).decode(event["data"])
    assert event["packed"] and Decoder(worker.mapped, lambda tag: tag).decode(json.loads(text)) == data


@pytest.mark.parametrize(("sid", "sent"), [(12345, "12345"), ("tab", "tab"), (None, None), (["a"], "['a']")])
def test_whom_an_event_is_for_may_be_anything(worker, sid, sent):
    assert worker.run("Send", {"data": {"a": 1}, "sid": sid}) == "sent"
    assert worker.shown("event")[0]["sid"] == sent


def test_the_name_of_an_event_may_be_anything_that_is_short(worker):
    for name, sent in ((True, 1), (3, 3), (-1, "-1"), (1 << 60, str(1 << 60)), (None, "None"), (1.5, "1.5")):
        worker.notes.clear()
        assert worker.run("Send", {"event": name}) == "sent"
        assert worker.shown("event")[0]["event"] == sent
    assert worker.run("Send", {"event": "x" * 2_000_000}) == "NODE_RAISED"
    assert worker.run("Send") == "sent"


def test_progress_that_is_no_number_is_not_shown(worker):
    assert worker.run("Steps", {"values": [1, float("nan"), float("inf")]}) == "done"
    assert [note["value"] for note in worker.shown("progress")] == [1.0, 10.0]


def test_the_servers_loop_runs_for_packs_without_routes(worker):
    assert worker.run("OnLoop") == "envmanager-side"


@pytest.mark.parametrize(("straight", "side"), [(True, 512), (False, 512), (True, 32)])
def test_of_previews_that_nobody_looks_at_a_few_are_kept_and_the_newest_comes_last(worker, straight, side):
    number = worker.start("Previews", {"count": 30, "side": side}, straight=straight)
    time.sleep(1.2)
    worker.wait(number) if straight else worker.ask({})
    pictures = [note["preview"] for note in worker.shown("progress") if "preview" in note]
    assert 1 <= len(pictures) <= 4
    # those are looked at: from then on there is room again
    leases = [Decoder(worker.mapped, lambda tag: tag).decode(picture) and picture[1]["v"]["segment"]["lease"] for picture in pictures]
    worker.notes.clear()
    number = worker.start("Previews", {"count": 30, "side": side})
    time.sleep(0.5)
    worker.tell("lease.release", leases=leases)
    assert worker.wait(number) == "done"
    shown = worker.shown("progress")
    assert [note["value"] for note in shown] == sorted(note["value"] for note in shown)
    worker.notes.clear()
    number = worker.start("Previews", {"count": 60, "side": side})
    time.sleep(0.9)
    worker.link.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        worker.wait(number)
    early = [note["preview"] for note in worker.shown("progress")]
    worker.notes.clear()
    worker.tell("lease.release", leases=[early[0][1]["v"]["segment"]["lease"]])
    worker.link.settimeout(20)
    worker.wait(number)
    assert worker.shown("progress")[0]["value"] > 30  # the newest of that time, not the fifth


def test_what_packs_have_written_is_on_disk_at_a_wanted_end(worker, tmp_path):
    worker.run("Write", {"file": str(tmp_path / "out")})
    assert worker.end() < 1.4
    assert (tmp_path / "out").read_text() == "in the buffer"
    assert (tmp_path / "out.atexit").read_text() == "ran"


def test_a_handler_that_hangs_does_not_keep_a_worker(worker, tmp_path):
    worker.run("Write", {"file": str(tmp_path / "out"), "hang": True})
    assert worker.end() < 3
    assert (tmp_path / "out").read_text() == "in the buffer"


def test_a_message_that_cannot_be_taken_ends_nothing(worker):
    for line in (b"no json\n", b'{"method": "lease.release", "params": {}}\n', b"[]\n", b'{"id": 1, "method": "unknown", "params": {}}\n'):
        worker.process.stdin.write(line)
    worker.request("worker.ping")
    assert worker.line() == {"id": 1, "result": {}}
    assert worker.run("Wait", {"name": "still here"}) == "still here"
