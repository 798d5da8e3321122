"""Node classes that inherit from each other, and inputs with names that are Python's own."""

import os

import folder_paths
import nodes


class InheritBase:
    """Says what it is and where it runs."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"turn": ("INT", {})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, turn):
        """Sync, as most are."""
        return (f"{type(self).__name__} {os.getpid()}",)


class InheritPlain(InheritBase):
    """Inherits all."""


class InheritSuper(InheritBase):
    """Calls the base's method and uses its result at once."""

    def run(self, turn):
        return (super().run(turn)[0] + " over",)


class InheritNames:
    """Inputs named as a method's own arguments are."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"cls": ("INT", {}), "self": ("INT", {}), "func": ("INT", {}), "prompt_id": ("INT", {})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(this, **given):  # noqa: N805 - an input is called self
        return (" ".join(f"{name}={given[name]}" for name in sorted(given)),)


class InheritState:
    """What its checks see is what its run has left."""

    seen = 0

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"turn": ("INT", {})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    @classmethod
    def IS_CHANGED(cls, turn):
        return f"{cls.seen} {os.getpid()}"

    @classmethod
    def VALIDATE_INPUTS(cls, turn):
        return True if turn >= 0 else f"seen {cls.seen}"

    def run(self, turn):
        """Counts its runs on the class."""
        type(self).seen += 1
        return (f"{type(self).seen} {os.getpid()}",)


class Unhashable(type):
    """Its classes have no hash."""

    def __eq__(cls, other):
        raise RuntimeError("asked")


class InheritStrange(metaclass=Unhashable):
    """Nobody else suffers from it."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def run(self):
        return ("strange",)


class InheritOwnFunction:
    """Each object has a method of its own choice."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "first", "tests"

    def __init__(self):
        self.FUNCTION = "second"

    def first(self, turn):
        return ("first",)

    def second(self, turn):
        return ("second",)


class InheritMade:
    """Says in which processes its objects were made, one line for each."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"
    FILE = os.path.join(folder_paths.get_output_directory(), "made.txt")

    def __init__(self):
        with open(self.FILE, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        self.calls = 0

    def run(self, turn):
        """And which call of this object it is."""
        self.calls += 1
        with open(self.FILE, encoding="utf-8") as file:
            return (f"{' '.join(file.read().split())} call {self.calls}",)


class InheritOwnList:
    """Each object says by itself whether it takes lists."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def __init__(self):
        self.INPUT_IS_LIST = True

    def run(self, turn):
        return (f"a {type(turn).__name__}",)


class InheritCount:
    """Counts the items that one object gets."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def __init__(self):
        self.items = 0

    def run(self, turn):
        """Adds one."""
        self.items += 1
        return (f"item {self.items}",)


class InheritMany:
    """A list of three numbers."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {})}})
    RETURN_TYPES, OUTPUT_IS_LIST, FUNCTION, CATEGORY = ("INT",), (True,), "run", "tests"

    def run(self, turn):
        return ([turn, turn + 1, turn + 2],)


class InheritSlots:
    """Its objects have no end that others hear of."""

    __slots__ = ("calls",)
    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def __init__(self):
        self.calls = 0

    def run(self, turn):
        """Counts."""
        self.calls += 1
        return (f"call {self.calls}",)


class InheritFork:
    """Its child comes back where the parent does."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"turn": ("INT", {}), "how": ("STRING", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "run", "tests"

    def run(self, turn, how):
        parent = os.getpid()
        child = os.fork()
        if child == 0 and how == "exit":
            raise SystemExit(3)
        if child == 0 and how == "raise":
            raise ValueError("in the child")
        if child:
            os.waitpid(child, 0)
        return (f"{'child' if child == 0 else 'parent'} {os.getpid() == parent}",)


CLASSES = (
    InheritBase,
    InheritPlain,
    InheritSuper,
    InheritNames,
    InheritState,
    InheritOwnFunction,
    InheritMade,
    InheritOwnList,
    InheritCount,
    InheritMany,
    InheritSlots,
    InheritFork,
)
NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in CLASSES}
NODE_CLASS_MAPPINGS |= {"InheritStrange": InheritStrange, "InheritAlias": InheritBase}


class InheritPut(InheritBase):
    """Its pack puts it where ComfyUI would."""


nodes.NODE_CLASS_MAPPINGS["InheritPut"] = InheritPut
# the same class under a second name: the first one stays ComfyUI's own
NODE_CLASS_MAPPINGS["InheritPreview"] = nodes.NODE_CLASS_MAPPINGS["PreviewAny"]
