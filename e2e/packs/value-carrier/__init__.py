"""Carries values through a worker, for tests: back as they came, or as something of its own."""

import asyncio
import collections
import os

import torch

Point = collections.namedtuple("Point", "x y")


class Any(str):
    """A type that is unequal to no other, as packs write it."""

    def __ne__(self, other):
        return False


class Own:
    """An object that is no data."""

    def __init__(self, name):
        self.name = name


def rebuild(value):
    """An equal value of new objects, so that nothing comes back by reference."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: rebuild(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rebuild(item) for item in value]
    if type(value) is tuple:
        return tuple(rebuild(item) for item in value)
    return value


class Carry:
    """`how`: as it is, rebuilt, or awaited."""

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"value": ("*", {}), "how": (["same", "rebuilt"],)},
            "hidden": {"me": "UNIQUE_ID", "graph": "DYNPROMPT", "prompt": "PROMPT", "info": "EXTRA_PNGINFO"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    RETURN_TYPES, FUNCTION, CATEGORY = ("*", "STRING"), "run", "tests"

    async def run(self, value, how, me=None, graph=None, prompt=None, info=None):
        await asyncio.sleep(0)
        seen = f"node {me} pid {os.getpid()} graph {type(graph).__name__} prompt {sorted(prompt or {})[:2]}"
        return (value if how == "same" else rebuild(value), seen)


class CarryMake:
    """Values that begin in the worker."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"what": (["named", "own", "generator", "cycle", "objects", "blocked"],)}})
    RETURN_TYPES, FUNCTION, CATEGORY = (Any("*"),), "run", "tests"

    def run(self, what):
        if what == "named":
            return (Point(1, torch.ones(2)),)
        if what == "own":
            return (Own("the name"),)
        if what == "generator":
            return ((number for number in ()),)
        if what == "cycle":
            value = []
            value.append(value)
            return (value,)
        if what == "blocked":
            from comfy_execution.graph_utils import ExecutionBlocker

            return (ExecutionBlocker(None),)
        import numpy

        return ({"deep": [numpy.array([object()])]},)


class CarryTake:
    """Uses an own object, and another class of its pack directly."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"thing": ("*", {})}})
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def run(self, thing):
        (inner,) = CarryMake().run("named")
        return (f"{thing.name} {inner.x} in {os.getpid()}",)


class CarryLists:
    """Takes whole lists and gives lists."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"values": ("INT", {"default": 1}), "times": ("INT", {"default": 3})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("INT", "STRING"), "run", "tests"
    INPUT_IS_LIST, OUTPUT_IS_LIST, OUTPUT_NODE = True, (True, False), True

    def run(self, values, times):
        made = values * times[0]
        return {"ui": {"made": [str(made)]}, "result": (made, f"{len(made)} values")}


class CarryLazy:
    """Asks for one of its inputs only."""

    INPUT_TYPES = classmethod(
        lambda cls: {"required": {"first": ("BOOLEAN", {"default": True}), "a": ("*", {"lazy": True}), "b": ("*", {"lazy": True})}}
    )
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "run", "tests"

    def check_lazy_status(self, first, a=None, b=None):
        return [name for name, value in (("a", a), ("b", b)) if value is None and (name == "a") == first]

    def run(self, first, a=None, b=None):
        return (a if first else b,)


class CarryExpand:
    """Puts a node in its own place."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"number": ("INT", {"default": 1})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "run", "tests"

    def run(self, number):
        from comfy_execution.graph_utils import GraphBuilder

        graph = GraphBuilder()
        made = graph.node("ValueMake", case=f"number {number}")
        graph.node("ValueShow", value=made.out(0))
        return {"result": (made.out(0),), "expand": graph.finalize()}


class CarryNote:
    """Shows something on the canvas, and cannot be run."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"note": ("STRING", {"default": "read this", "multiline": True})}})
    RETURN_TYPES, CATEGORY = (), "tests"


class CarryLost:
    """Names a method that it does not have."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "gone", "tests", True


class CarryChanged:
    """Runs again when a file has changed, and only then."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"file": ("STRING", {"default": ""})}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = ("STRING",), "run", "tests", True
    count = 0

    @classmethod
    def IS_CHANGED(cls, file):
        with open(file, encoding="utf-8") as opened:
            return opened.read()

    @classmethod
    def VALIDATE_INPUTS(cls, file):
        return True if os.path.isfile(file) else f"there is no file {os.path.basename(file)}"

    def run(self, file):
        type(self).count += 1
        return {"ui": {"runs": [f"{os.getpid()} {self.count}"]}, "result": (file,)}


NODE_CLASS_MAPPINGS = {
    cls.__name__: cls for cls in (Carry, CarryMake, CarryTake, CarryLists, CarryLazy, CarryExpand, CarryChanged, CarryNote, CarryLost)
}
