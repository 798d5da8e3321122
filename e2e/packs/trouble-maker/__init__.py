"""Nodes that misbehave on request, for tests. Asks for no packages, so it runs on ComfyUI's own environment."""

import ctypes
import importlib
import os
import sys
import time

import comfy.model_management
import comfy.utils
import folder_paths
import numpy
import torch
from PIL import Image

from . import routes  # noqa: F401 - adds them

UNLOADED = []


def count_unloads(original):
    """In this process: ComfyUI's, or the worker's."""
    return lambda *args, **kwargs: (UNLOADED.append(1), original(*args, **kwargs))[1]


comfy.model_management.unload_all_models = count_unloads(comfy.model_management.unload_all_models)


class CustomError(Exception):
    """An error class that ComfyUI does not know."""


class Opaque:
    """An object that is no data."""

    def __init__(self, number):
        self.number = number


def node(returns, output=False, **inputs):
    """A node class around one function: `inputs` are its sockets."""

    def make(function):
        kinds = {"required": {name: kind if isinstance(kind, tuple) else (kind,) for name, kind in inputs.items()}}
        body = {
            "INPUT_TYPES": classmethod(lambda cls: kinds),
            "RETURN_TYPES": returns,
            "FUNCTION": "run",
            "CATEGORY": "tests",
            "OUTPUT_NODE": output,
            "run": lambda self, **kwargs: function(self, **kwargs),
        }
        return type(function.__name__, (), body)

    return make


@node(("IMAGE",))
def TroublePattern(self):
    """An image in which every pixel says something."""
    return ((torch.arange(64 * 48 * 3, dtype=torch.float32) * 2654435761 % 4294967296 / 4294967296).reshape(1, 48, 64, 3),)


@node(("IMAGE",), image="IMAGE", seconds=("FLOAT", {"default": 1.0}))
def TroubleSleep(self, image, seconds):
    print(f"sleeping {seconds}", flush=True)
    time.sleep(seconds)
    return (image,)


@node(("IMAGE",), image="IMAGE", seconds=("FLOAT", {"default": 1.0}))
def TroubleBusy(self, image, seconds):
    print("busy", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return (image,)


@node(("IMAGE",), image="IMAGE", seconds=("FLOAT", {"default": 1.0}))
def TroubleHold(self, image, seconds):
    """Native code that keeps Python's lock: no other thread of this process runs."""
    print("holding", flush=True)
    ctypes.PyDLL(None).sleep(int(seconds))
    return (image,)


@node(("IMAGE",), image="IMAGE", steps=("INT", {"default": 5}))
def TroubleSteps(self, image, steps):
    bar = comfy.utils.ProgressBar(steps)
    for _ in range(steps):
        time.sleep(0.05)
        bar.update(1)
    return (image,)


@node(("IMAGE",), image="IMAGE", how=(["value", "custom", "exit", "empty"],))
def TroubleRaise(self, image, how):
    if how == "custom":
        raise CustomError("the custom message")
    if how == "exit":
        sys.exit(3)
    if how == "empty":
        raise AssertionError
    raise ValueError("the message")


@node(("IMAGE",), image="IMAGE", how=(["segfault", "exit42", "abort"],))
def TroubleCrash(self, image, how):
    print("about to crash", flush=True)
    if how == "exit42":
        os._exit(42)
    if how == "abort":
        os.abort()
    ctypes.string_at(0)


@node(("IMAGE",), image="IMAGE")
def TroubleInPlace(self, image):
    image.add_(1)
    return (image,)


@node(("OPAQUE",), number=("INT", {"default": 7}))
def TroubleMake(self, number):
    return (Opaque(number),)


@node(("STRING",), thing="OPAQUE")
def TroubleUse(self, thing):
    return (f"number {thing.number} in process {os.getpid()}",)


@node(("STRING",), image="IMAGE")
def TroubleWhere(self, image):
    self.count = getattr(self, "count", 0) + 1
    return (f"pid {os.getpid()} call {self.count} isolated {os.environ.get('COMFYUI_ISOLATION_WORKER', '0')}",)


@node(("STRING",))
def TroubleUnloads(self):
    return (f"{len(UNLOADED)} in {os.getpid()}",)


@node(("STRING",), image="IMAGE")
def TroublePrint(self, image):
    print("from print")
    print("from stderr", file=sys.stderr)
    os.write(1, b"from descriptor 1\n")
    ctypes.CDLL(None).puts(b"from native code")
    ctypes.CDLL(None).fflush(None)
    return (str(tuple(torch.ones(1).tolist())),)


@node((), output=True, image="IMAGE", name=("STRING", {"default": "exact"}))
def TroubleSave(self, image, name):
    """Keeps the exact bits, for tests that compare them."""
    numpy.save(os.path.join(folder_paths.get_output_directory(), f"{name}.npy"), image.cpu().numpy())
    return {"ui": {"text": (str(tuple(image.shape)),)}}


@node(("STRING",), image="IMAGE", name=("STRING", {}), other=("STRING", {}))
def TroubleMeet(self, image, name, other):
    """Ends when the node of the other name runs too."""
    folder = folder_paths.get_temp_directory()
    os.makedirs(folder, exist_ok=True)
    mine, theirs = (os.path.join(folder, f"meet-{who}") for who in (name, other))
    open(mine, "w", encoding="utf-8").close()
    until = time.monotonic() + 60
    while not os.path.exists(theirs):
        if time.monotonic() > until:
            raise TimeoutError(f"{other} does not run beside {name}")
        time.sleep(0.01)
    return (f"{name} met {other}",)


@node(("IMAGE",), image="IMAGE")
def TroublePreview(self, image):
    """A progress bar with a picture, as samplers show it."""
    bar = comfy.utils.ProgressBar(2)
    bar.update_absolute(1, 2, ("JPEG", Image.new("RGB", (8, 8), (255, 0, 0)), 512))
    bar.update(1)
    return (image,)


@node(("FUNCTION",), image="IMAGE")
def TroubleFunction(self, image):
    return (lambda: f"called in process {os.getpid()}",)


@node(("STRING",), function="FUNCTION")
def TroubleCall(self, function):
    return (function(),)


@node(("IMAGE",), image="IMAGE")
def TroubleStop(self, image):
    """Stops the prompt after itself, as "stop here" nodes do."""
    comfy.model_management.interrupt_current_processing(True)
    return (image,)


@node(("STRING",), image="IMAGE", name=("STRING", {}))
def TroubleLook(self, image, name):
    """What packs that go through the graph ask of other node classes."""
    nodes = sys.modules["nodes"] if "nodes" in sys.modules else importlib.import_module("nodes")
    known = nodes.NODE_CLASS_MAPPINGS
    there, cls = name in known, known[name]
    made = ""
    if name == "SolidMask":
        made = str(tuple(getattr(cls(), cls.FUNCTION)(1.0, 8, 4)[0].shape))
    elif not there:
        try:
            cls()
        except RuntimeError as error:
            made = str(error)
    return (f"{there} {cls.OUTPUT_NODE if hasattr(cls, 'OUTPUT_NODE') else None} {made}",)


@node(("STRING",), image="IMAGE")
def TroubleTalk(self, image):
    """Sends a picture to the browser by the number of ComfyUI's event."""
    server = sys.modules["server"].PromptServer.instance
    server.send_sync(2, ("PNG", Image.new("RGB", (4, 4)), None), server.client_id)
    server.send_sync("trouble.said", {"where": os.getpid(), "client": server.client_id, "node": server.last_node_id})
    return ("said",)


class TroubleFiles:
    """Its choices are files; it looks at one of them when its inputs are checked."""

    @classmethod
    def INPUT_TYPES(cls):
        files = folder_paths.get_filename_list("trouble")
        files.insert(0, "none")
        return {"required": {"file": (files,)}, "hidden": {"unique_id": "UNIQUE_ID"}}

    @classmethod
    def VALIDATE_INPUTS(cls, file):
        return True if file != "forbidden" else "this file may not be used"

    @classmethod
    def IS_CHANGED(cls, file, **kwargs):
        return file

    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def run(self, file, unique_id=None):
        return (f"{file} in node {unique_id}",)


if hasattr(folder_paths, "add_model_folder_path"):
    folder_paths.add_model_folder_path("trouble", os.path.join(folder_paths.models_dir, "trouble"))

_ALL = (
    TroublePattern,
    TroubleSleep,
    TroubleBusy,
    TroubleHold,
    TroubleSteps,
    TroubleRaise,
    TroubleCrash,
    TroubleInPlace,
    TroubleMake,
    TroubleUse,
    TroubleWhere,
    TroubleMeet,
    TroublePreview,
    TroubleFunction,
    TroubleCall,
    TroubleTalk,
    TroubleLook,
    TroubleStop,
    TroublePrint,
    TroubleUnloads,
    TroubleSave,
)
NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (*_ALL, TroubleFiles)}
