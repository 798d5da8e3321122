"""Nodes that misbehave on request, for tests. Asks for no packages, so it runs on ComfyUI's own environment."""

import ctypes
import os
import sys
import time

import comfy.utils
import folder_paths
import numpy
import torch


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
    TroublePrint,
    TroubleSave,
)
NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in _ALL}
