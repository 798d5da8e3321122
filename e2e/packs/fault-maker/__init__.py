"""A sample pack whose nodes do what a worker must survive. For `npm run faults`."""

import ctypes
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time


def node(returns, **inputs):
    """A node class around one function: `inputs` are its sockets."""

    def make(function):
        required = {name: (kind, {"default": default}) for name, (kind, default) in inputs.items()}
        body = {
            "INPUT_TYPES": classmethod(lambda cls: {"required": required}),
            "RETURN_TYPES": returns,
            "FUNCTION": "run",
            "CATEGORY": "tests",
            "run": function,
        }
        NODE_CLASS_MAPPINGS[function.__name__] = type(function.__name__, (), body)
        return function

    return make


NODE_CLASS_MAPPINGS = {}


@node(("STRING",), number=("INT", 0), milliseconds=("INT", 0))
def FaultEcho(self, number, milliseconds):
    """Gives its number back, after a while."""
    time.sleep(milliseconds / 1000)
    return (f"number {number}",)


@node(("STRING",), seconds=("FLOAT", 1.0))
def FaultRegex(self, seconds):
    """Native code that works and keeps Python's lock: one match that backtracks."""
    pattern, length = re.compile(r"(a+)+$"), 20
    begin = time.monotonic()
    pattern.match("a" * length + "b")
    once = time.monotonic() - begin
    length += max(0, round(math.log2(max(seconds / once, 1))))
    print("matching", flush=True)
    begin = time.monotonic()
    pattern.match("a" * length + "b")
    return (f"matched for {time.monotonic() - begin:.1f} s",)


@node(("STRING",), x=("INT", 0))
def FaultGrandchild(self, x):
    """Starts a program that would outlive it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    print(f"grandchild {child.pid}", flush=True)
    time.sleep(1000)
    return ("",)


@node(("STRING",), lines=("INT", 0))
def FaultPrint(self, lines):
    """Prints much."""
    begin = time.monotonic()
    for number in range(lines):
        print(f"line {number}")
    sys.stdout.flush()
    return (f"{time.monotonic() - begin:.2f}",)


@node(("STRING",), megabytes=("INT", 1))
def FaultJunk(self, megabytes):
    """Writes bytes that are no text, and no end of a line, to where a protocol might be."""
    junk = bytes(range(11, 256)) * 4096
    for _ in range(megabytes):
        for descriptor in (1, 2):
            os.write(descriptor, junk)
    return ("written",)


@node(("STRING",), x=("INT", 0))
def FaultMeddle(self, x):
    """Closes the standard streams, goes elsewhere, and changes the environment."""
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    os.chdir("/")
    os.environ.clear()
    return ("meddled",)


@node(("STRING",), x=("INT", 0))
def FaultIgnore(self, x):
    """Ignores requests to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return ("ignoring",)


@node(("STRING",), seconds=("INT", 1))
def FaultDeaf(self, seconds):
    """Native code that keeps Python's lock, in a process that hears no signal but the last one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("deaf", flush=True)
    ctypes.PyDLL(None).sleep(seconds)
    return ("",)


@node(("STRING",), megabytes=("INT", 1), kind=("STRING", "bytes"))
def FaultMemory(self, megabytes, kind):
    """Takes memory, of Python or of torch."""
    if kind == "torch":
        import torch

        return (f"took {torch.ones(megabytes << 18).sum():.0f}",)
    return (f"took {len(bytearray(megabytes << 20))}",)


@node(("STRING",), paths=("STRING", "[]"), writes=("STRING", "[]"), port=("INT", 0))
def FaultReach(self, paths, writes, port):
    """What it can reach of the machine: files to read and to write, a port, other processes, the environment."""

    def tries(act):
        try:
            act()
            return True
        except OSError:
            return False

    def write(path):
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("from a node")

    found = {
        "read": [tries(lambda path=path: os.stat(path)) for path in json.loads(paths)],
        "written": [tries(lambda path=path: write(path)) for path in json.loads(writes)],
        "connected": tries(lambda: socket.create_connection(("127.0.0.1", port), timeout=5).close()),
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "environment": "A_SECRET" in os.environ,
    }
    return (json.dumps(found),)
