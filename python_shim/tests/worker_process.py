"""A worker's process, with this one as its bridge and its ComfyUI."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

from python_shim.tests.worker_pack import GRAPH, PACK
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


class Tagged:
    """A handle on its way back."""

    def __init__(self, tag):
        self.tag = tag


class Worker:
    """A real process; this is the bridge, and ComfyUI."""

    def __init__(self, folder, text=GRAPH + PACK, root=ROOT / "e2e" / "host", argv=(), **host):
        """`text`: of its pack; `root`: where ComfyUI lies; `host`: more of what that one tells."""
        (folder / "pack").mkdir()
        (folder / "pack" / "__init__.py").write_text(text)
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
        folders = {"root": str(root), "argv": ["--base-directory", str(folder), *argv], "models": {}, **kinds, **host}
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

    def _read(self):
        for header, body in self._straight.feed(self.link.recv(1 << 18)):
            if "id" in header:
                self._done[header["id"]] = (header, body)
            else:
                self.notes.append(header)

    def wait(self, number):
        """A straight call's result, or its error's code."""
        while number not in self._done:
            self._read()
        header, body = self._done.pop(number)
        if "error" in header:
            return header["error"]["code"]
        value = Decoder(self.mapped, lambda tag: tag).decode(json.loads(body))
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    def read_notes(self, count):
        """Straight calls' notes, until there are so many."""
        while len(self.notes) < count:
            self._read()

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
