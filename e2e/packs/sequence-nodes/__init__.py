"""Nodes for tests of sequences. The names of the classes begin with the folder's, so that copies of it are packs of their own:
`seq-a` has SeqAMake, `seq-b` SeqBMake. Every run is written down, with the process that it was in."""

import ctypes
import gc
import hashlib
import json
import os
import sys
import time

import comfy.model_management
import folder_paths
import torch

PREFIX = "".join(part.capitalize() for part in os.path.basename(os.path.dirname(os.path.abspath(__file__))).split("-"))
NODE_CLASS_MAPPINGS = {}
KEPT = {}


class Thing:
    """An object that is no data."""

    def __init__(self, seed):
        self.seed = seed


def make(kind, size, seed):
    """A value of about so many bytes, the same for the same words."""
    if kind == "int":
        return size + seed
    if kind == "list":
        return [(number * 7 + seed) % 1000 for number in range(size // 64)]
    return ((torch.arange(size // 4) * 31 + seed) % 251).float()


def add(value, number):
    """Another value."""
    if isinstance(value, list):
        return [item + number for item in value]
    return value + number


def digest(value):
    """Every bit of a value, in short."""
    if isinstance(value, torch.Tensor):
        return f"tensor {list(value.shape)} {hashlib.sha1(value.numpy().tobytes()).hexdigest()}"
    if isinstance(value, list):
        return f"list {len(value)} {hashlib.sha1(json.dumps(value).encode()).hexdigest()}"
    return f"{type(value).__name__} {value}"


def node(returns, more=None, **inputs):
    """A node class around one function: `inputs` are its sockets. Each also has its turn, which no other run has."""

    def wrap(function):
        name = PREFIX + function.__name__
        kinds = {"required": {key: (kind, {}) for key, kind in {**inputs, "turn": "INT"}.items()}, "optional": {"after": ("*", {})}}

        def run(self, turn, after=None, **given):
            number = turn[0] if isinstance(turn, list) else turn
            with open(os.path.join(folder_paths.get_output_directory(), "runs.log"), "a", encoding="utf-8") as file:
                file.write(f"{name} {number} {os.getpid()}\n")
            return function(**given)

        body = {"INPUT_TYPES": classmethod(lambda cls: kinds), "RETURN_TYPES": returns, "FUNCTION": "run", "CATEGORY": "tests", "run": run}
        NODE_CLASS_MAPPINGS[name] = type(name, (), {**body, **(more or {})})
        return function

    return wrap


@node(("*",), kind="STRING", size="INT", seed="INT")
def Make(kind, size, seed):
    return (make(kind, size, seed),)


@node(("*",), value="*", number="INT")
def Add(value, number):
    return (add(value, number),)


@node(("*",), kind="STRING", size="INT", seed="INT")
def Keep(kind, size, seed):
    """Keeps what it returns: whoever writes into the result must not reach this."""
    return (KEPT.setdefault((kind, size, seed), make(kind, size, seed)),)


@node(("*",), value="*", number="INT")
def Write(value, number):
    """Writes into its input."""
    if isinstance(value, torch.Tensor):
        value.add_(number)
    elif isinstance(value, list):
        value[:] = [item + number for item in value]
    else:
        value += number
    return (value,)


@node(("*",), value="*")
def Fail(value):
    raise ValueError("as asked")


@node(("*",), value="*", seconds="FLOAT", polite="BOOLEAN")
def Sleep(value, seconds, polite):
    """Takes its time; a polite one looks whether the user has pressed Cancel."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
        if polite:
            comfy.model_management.throw_exception_if_processing_interrupted()
    return (value,)


@node(("OBJECT",), seed="INT")
def Object(seed):
    return (Thing(seed),)


@node(("OBJECT",), thing="OBJECT")
def Next(thing):
    return (Thing(thing.seed + 1),)


@node(("STRING",), thing="OBJECT")
def Use(thing):
    return (f"thing {thing.seed}",)


@node(("*",), {"OUTPUT_IS_LIST": (True,)}, count="INT", kind="STRING", size="INT", seed="INT")
def Spread(count, kind, size, seed):
    """Many values, for each of which the next node runs once."""
    return ([make(kind, size, seed + number) for number in range(count)],)


@node((), {"INPUT_IS_LIST": True, "OUTPUT_NODE": True}, value="*")
def Show(value):
    return {"ui": {"text": [digest(item) for item in value]}}


#: The modules by which ComfyUI and a worker are told apart; each loaded module is known by the end of its name.
COMFYUI, WORKER = "shim.main", "worker.runner"
#: What the product holds: where, by objects of which class, and what of each is counted. Of handles alone there may be none.
COUNTED = {
    "bytes leased": ((COMFYUI, WORKER), "wire.segments", "SegmentPool", lambda pool: pool.usage()[0]),
    "leases passed on": ((COMFYUI, WORKER), "wire.segments", "SegmentPool", lambda pool: len(pool._passed)),
    "leases of others": ((COMFYUI, WORKER), "wire.mapping", "MappedSegments", lambda mapped: len(mapped._active)),
    "objects": ((WORKER,), "worker.kept_objects", "KeptObjects", lambda kept: len(kept._objects)),
    "handles": ((COMFYUI,), "shim.handles", "RemoteHandle", lambda handle: 1),
}


def loaded(end):
    """Every module of that name: ComfyUI may have loaded the product under any."""
    return [module for name, module in list(sys.modules.items()) if name.endswith("." + end)]


def account():
    """What the product holds in this process. A name that is not there any more is an error, never 0."""
    places = [place for place in (COMFYUI, WORKER) if loaded(place)]
    if not places:
        raise LookupError("this is neither ComfyUI nor a worker, by the names of their modules")
    gc.collect()
    everything, held = gc.get_objects(), {}
    for what, (where, module, name, count) in COUNTED.items():
        kinds = {getattr(one, name) for one in loaded(module)}
        found = [item for item in everything if type(item) in kinds]
        if set(where).intersection(places) and not (found or (kinds and what == "handles")):
            raise LookupError(f"no {name} of {module} was found")
        held[what] = sum(map(count, found))
    del everything, found
    if sys.platform == "linux":  # what the allocator only keeps is no growth
        ctypes.CDLL(None).malloc_trim(0)
    return {"ui": {"text": [json.dumps(held)]}}


@node((), {"OUTPUT_NODE": True})
def Usage():
    return account()


@node((), {"OUTPUT_NODE": True})
def UsageThere():
    """The same, so that one of both can run in ComfyUI and one in the worker."""
    return account()
