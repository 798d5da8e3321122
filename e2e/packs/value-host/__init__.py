"""Makes values inside ComfyUI and says what came back, for tests of the border to a worker. Never isolated itself."""

import math
import time

import numpy
import torch


def deep(levels):
    value = (torch.ones(2), None)
    for level in range(levels):
        value = {"level": level, "in": [value, ()]}
    return value


CASES = {
    "nothing": lambda: None,
    "tuples": lambda: (None, (), (1, (None,))),
    "deep": lambda: deep(4),
    "keys": lambda: {1: "a", (2, 3): "b", None: "c", "1": "d"},
    "markers": lambda: {
        "$": "tuple",
        "v": [1],
        "__type__": "TensorRef",
        "__pyisolate_object__": True,
        "module": "math",
        "type": "factorial",
    },
    "floats": lambda: [1.0, -0.0, math.inf, 5e-324, 2**60, 1 + 2j],
    "text": lambda: "\ud800 🎨 \0" + "long " * 20_000,
    "bytes": lambda: bytes(range(256)) * 500,
    "numbers": lambda: list(range(200_000)),
    "latent": lambda: {"samples": torch.rand(1, 4, 8, 8, generator=seed()), "noise_mask": torch.ones(1, 8, 8), "batch_index": [0]},
    "audio": lambda: {"waveform": torch.rand(1, 2, 100, generator=seed()), "sample_rate": 44100},
    "conditioning": lambda: [[torch.rand(1, 7, 4, generator=seed()), {"pooled_output": torch.ones(1, 4), "strength": 0.5}]],
    "big": lambda: torch.rand(3, 512, 512, 3, generator=seed()),
    "slice": lambda: torch.rand(4, 64, 64, 3, generator=seed())[1:2],
    "empty": lambda: torch.empty(0, 64, 64, 3),
    "array": lambda: numpy.asfortranarray(numpy.arange(6, dtype="f4").reshape(2, 3)),
    "many": lambda: [torch.full((3,), float(number)) for number in range(1000)],
    "live": lambda: torch.nn.Linear(2, 2),
    "number 5": lambda: 5,
}


def seed():
    return torch.Generator().manual_seed(3)


def same(left, right):
    """Whether two values are equal in every bit and type."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, numpy.ndarray):
        return isinstance(right, numpy.ndarray) and left.dtype == right.dtype and numpy.array_equal(left, right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right and repr(left) == repr(right)


_kept = {}


class ValueMake:
    """One of the cases, and remembers the object."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"case": (list(CASES),)}})
    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "run", "tests"

    def run(self, case):
        _kept[case] = CASES[case]()
        return (_kept[case],)


class ValueCheck:
    """Says whether a value is the case's, and whether it is the very object."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"case": (list(CASES),), "value": ("*", {})}})
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, case, value):
        right = same(CASES[case](), value)
        said = "equal" if right else f"not equal: {value!r:.200}"
        return {"ui": {"text": [said + (", the very object" if value is _kept.get(case) else "")]}}


class ValueShow:
    """What a value is, by its own word."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("*", {})}})
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, value):
        fields = getattr(value, "_fields", None) if isinstance(value, tuple) else None
        return {"ui": {"text": [f"{type(value).__name__} {fields} {value.name if type(value).__name__ == 'RemoteHandle' else value}"]}}


class ValueDigest:
    """Shape, least and largest element of a tensor."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("*", {})}})
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    def run(self, value):
        return {"ui": {"text": [f"{list(value.shape)} {float(value.min())} {float(value.max())}"]}}


class ValueSleep:
    """Takes its time in ComfyUI after another node has run."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"after": ("*", {}), "seconds": ("FLOAT", {}), "number": ("INT", {})}})
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY = ("INT",), "run", "tests"

    def run(self, after, seconds, number):
        time.sleep(seconds)
        return (number,)


class Box:
    """An object of ComfyUI's process: nobody looks into it."""

    def __init__(self, value):
        self.value = value


class ValueBox:
    """Puts a value into an object, or takes it out again."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("*", {})}})
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)
    RETURN_TYPES, FUNCTION, CATEGORY = ("*",), "run", "tests"

    def run(self, value):
        return (value.value if isinstance(value, Box) else Box(value),)


NODE_CLASS_MAPPINGS = {cls.__name__: cls for cls in (ValueMake, ValueCheck, ValueShow, ValueDigest, ValueSleep, ValueBox)}
