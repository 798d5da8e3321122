"""Nodes that keep what they return, in every way that packs do: what comes later must be what was made."""

import functools
import weakref

import numpy
import torch

KEPT = {}
FRAMES = []


def ramp(turn):
    """4 MiB in which every pixel says something; the same for every turn."""
    return torch.linspace(0.25, 0.75, 1 << 20).reshape(1, 512, 512, 4)


@functools.lru_cache
def cached():
    return (ramp(0),)


def in_dict(turn):
    return KEPT.setdefault("dict", (ramp(turn),))


def in_frames(turn):
    FRAMES.append(ramp(turn))
    return (FRAMES[0],)


def in_closure(turn):
    if "closure" not in KEPT:
        made = (ramp(turn),)
        KEPT["closure"] = lambda: made
    return KEPT["closure"]()


def in_numpy(turn):
    if "numpy" not in KEPT:
        KEPT["numpy"] = ramp(turn).numpy()
    return (torch.from_numpy(KEPT["numpy"]),)


def in_view(turn):
    if "view" not in KEPT:
        KEPT["view"] = ramp(turn)[:, :, :, :3]
    return (KEPT["view"].clone() if turn > 8 else torch.as_strided(KEPT["view"], (1, 512, 512, 4), KEPT["view"].stride()),)


def in_memoryview(turn):
    if "memory" not in KEPT:
        KEPT["memory"] = memoryview(ramp(turn).numpy())
    return (torch.from_numpy(numpy.asarray(KEPT["memory"])),)


def in_pointer(turn):
    """As C extensions keep it: DLPack holds the memory, and no Python object does."""
    if "pointer" not in KEPT:
        KEPT["pointer"] = torch.utils.dlpack.to_dlpack(ramp(turn))
    held = torch.utils.dlpack.from_dlpack(KEPT["pointer"])
    KEPT["pointer"] = torch.utils.dlpack.to_dlpack(held)
    return (held,)


def in_generator(turn):
    if "generator" not in KEPT:

        def forever():
            made = (ramp(turn),)
            while True:
                yield made

        KEPT["generator"] = forever()
    return next(KEPT["generator"])


class Holder:
    """Holds one value; others hold it weakly."""

    def __init__(self, value):
        self.value = value


HOLDERS = set()


def in_weak(turn):
    if "weak" not in KEPT:
        holder = Holder((ramp(turn),))
        HOLDERS.add(holder)
        KEPT["weak"] = weakref.ref(holder)
    return KEPT["weak"]().value


WAYS = {
    name.removeprefix("in_"): way
    for name, way in {**globals(), "in_lru_cache": lambda turn: cached()}.items()
    if name.startswith("in_") and callable(way)
}


class KeepResult:
    """Returns an image that it keeps in the way `how`."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"how": ("STRING", {}), "turn": ("INT", {})}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, how, turn):
        """With `self`, the instance keeps it."""
        if how == "self":
            self.made = getattr(self, "made", None) or (ramp(turn),)
            return self.made
        return WAYS[how](turn)


NODE_CLASS_MAPPINGS = {"KeepResult": KeepResult}
