"""Sources and a sink for comparing a node in ComfyUI with the same node in a worker: fixed values in, a digest of every bit out."""

import hashlib

import numpy
import torch


def _generator():
    return torch.Generator().manual_seed(7)


def _image():
    return torch.rand(2, 48, 64, 3, generator=_generator())


def _mask():
    return (torch.rand(2, 48, 64, generator=_generator()) > 0.5).float()


SOURCES = {
    "IMAGE": _image,
    "MASK": _mask,
    "LATENT": lambda: {"samples": torch.rand(2, 4, 6, 8, generator=_generator())},
    "SIGMAS": lambda: torch.linspace(14, 0, 8),
    "AUDIO": lambda: {"waveform": torch.rand(1, 2, 800, generator=_generator()), "sample_rate": 8000},
    "CONDITIONING": lambda: [[torch.rand(1, 77, 16, generator=_generator()), {"pooled_output": torch.rand(1, 16, generator=_generator())}]],
    "INT": lambda: 3,
    "FLOAT": lambda: 0.5,
    "STRING": lambda: "a, b, c",
    "BOOLEAN": lambda: True,
    "*": _image,
    "LIST": lambda: ["a", "b"],
    "DICT": lambda: {"a": 1},
    "BBOX": lambda: [(4, 4, 20, 20)],
}


def digest(value):
    """What a value is, in full: structure by its types, tensors and arrays by their bits, other objects by their class."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        data = plain.view(torch.uint8).numpy().tobytes() if plain.numel() and plain.dim() else repr(plain.tolist()).encode()
        return f"tensor {plain.dtype} {tuple(plain.shape)} {hashlib.sha256(data).hexdigest()[:16]}"
    if isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        return f"array {value.dtype} {value.shape} {hashlib.sha256(numpy.ascontiguousarray(value).tobytes()).hexdigest()[:16]}"
    if isinstance(value, dict):
        return {repr(key): digest(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        kind = type(value).__name__ if isinstance(value, list) or type(value) is tuple or hasattr(value, "_fields") else "tuple"
        return [kind, *(digest(item) for item in value)]
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if type(value).__name__ == "RemoteHandle":
        return f"object {object.__getattribute__(value, '_tag')['type'].rsplit('.', 1)[-1]}"
    return f"object {type(value).__qualname__.rsplit('.', 1)[-1]}"


def _source(kind, make):
    body = {
        "INPUT_TYPES": classmethod(lambda cls: {"required": {}}),
        "RETURN_TYPES": (kind,),
        "FUNCTION": "run",
        "CATEGORY": "tests",
        "run": lambda self: (make(),),
    }
    return type(f"ParitySource{kind}", (), body)


class ParitySink:
    """Shows the digest of what it gets."""

    INPUT_TYPES = classmethod(lambda cls: {"required": {"value": ("*", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE, INPUT_IS_LIST = (), "run", "tests", True, True
    VALIDATE_INPUTS = classmethod(lambda cls, input_types: True)

    def run(self, value):
        return {"ui": {"digest": [digest(item) for item in value]}}


NODE_CLASS_MAPPINGS = {f"ParitySource {kind}": _source(kind, make) for kind, make in SOURCES.items()}
NODE_CLASS_MAPPINGS["ParitySink"] = ParitySink
