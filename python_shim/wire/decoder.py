"""Python values from JSON, by the forms of `schemas/value.ts`; `encoder.py` makes them."""

from __future__ import annotations

import base64
import collections
import importlib
import math
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import cuda, magic, video
from .encoder import DYNAMIC_PROMPT
from .errors import CodedError
from .files import FileList
from .mapping import MappedSegments


class ExecutionBlocker:
    """Stand-in where ComfyUI's own class is not importable (`comfy_execution/graph_utils.py`)."""

    def __init__(self, message: str | None) -> None:
        self.message = message


def make_blocker(message: str | None) -> Any:
    """ComfyUI's ExecutionBlocker where there is one."""
    try:
        from comfy_execution.graph_utils import ExecutionBlocker as real
    except ImportError:
        return ExecutionBlocker(message)
    return real(message)


class Decoder:
    """Decodes one message. `mapped` opens its shared memory; `inputs` are the tensors and arrays of the call that it answers."""

    def __init__(self, mapped: MappedSegments, handle: Callable[[dict[str, Any]], Any], inputs: Sequence[Any] = ()) -> None:
        self._mapped, self._handle, self._inputs = mapped, handle, inputs
        self._maps: dict[str, Any] = {}
        #: Leases that need not be held any more, since their tensors were copied.
        self.done: list[str] = []
        #: Whether tensors of a GPU were handed over there, or came through main memory; None: there was none.
        self.from_gpu: bool | None = None
        #: Tensors and arrays in their order.
        self.seen: list[Any] = []

    def decode(self, value: Any) -> Any:
        """The Python value of a JSON form. Raises OSError if the process that owns its memory is gone."""
        try:
            return self._any(value)
        finally:
            self._maps = {}

    def _any(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._any(item) for item in value]
        if not isinstance(value, dict):
            return value
        read = _READERS.get(value.get("$"))
        if read is None:
            raise CodedError("BAD_REQUEST", f"a value of the unknown kind {value.get('$')!r}", "Restart ComfyUI: its parts differ.")
        return read(self, value)

    def _read_tuple(self, tag: dict[str, Any]) -> Any:
        return tuple(self._any(item) for item in tag["v"])

    def _read_named(self, tag: dict[str, Any]) -> Any:
        kind = collections.namedtuple(tag["name"], tag["fields"], rename=True)
        return kind(*(self._any(item) for item in tag["v"]))

    def _read_dict(self, tag: dict[str, Any]) -> Any:
        return {self._any(key): self._any(item) for key, item in tag["v"]}

    def _read_set(self, tag: dict[str, Any]) -> Any:
        return (frozenset if tag["frozen"] else set)(self._any(item) for item in tag["v"])

    def _read_float(self, tag: dict[str, Any]) -> float:
        return float(tag["v"])

    def _read_int(self, tag: dict[str, Any]) -> int:
        return int(tag["v"])

    def _read_complex(self, tag: dict[str, Any]) -> complex:
        return complex(*tag["v"])

    def _read_bytes(self, tag: dict[str, Any]) -> bytes:
        return base64.b64decode(tag["v"])

    def _read_path(self, tag: dict[str, Any]) -> Any:
        return pathlib.Path(tag["v"])

    def _read_blob(self, tag: dict[str, Any]) -> Any:
        ref = tag["segment"]
        data = bytes(memoryview(self._map(ref))[ref["offset"] : ref["offset"] + ref["bytes"]])
        if tag["kind"] == "str":
            return data.decode("utf-8", "surrogatepass")
        return bytearray(data) if tag["kind"] == "bytearray" else data

    def _read_blocker(self, tag: dict[str, Any]) -> Any:
        return make_blocker(self._any(tag["v"]))

    def _read_handle(self, tag: dict[str, Any]) -> Any:
        return self._handle(tag)

    def _read_same(self, tag: dict[str, Any]) -> Any:
        return self.seen[tag["of"]]

    def _read_node_output(self, tag: dict[str, Any]) -> Any:
        args, ui, expand, blocked = self._any(tag["v"])
        kind = _newer_api("NodeOutput")
        if kind is None:  # an executor without V3 nodes
            return {"result": args, "ui": ui or {}, **({"expand": expand} if expand is not None else {})}
        return kind(*args, ui=ui, expand=expand, block_execution=blocked)

    def _read_dynprompt(self, tag: dict[str, Any]) -> Any:
        original, *rest = [self._any(part) for part in tag["v"]]
        graph = importlib.import_module("comfy_execution.graph")
        made = graph.DynamicPrompt(original)
        for name, part in zip(DYNAMIC_PROMPT[1:], rest, strict=True):
            setattr(made, name, part)
        return made

    def _read_files(self, tag: dict[str, Any]) -> Any:
        before, files, after = (self._any(tag[name]) for name in ("before", "v", "after"))
        return before + FileList.of(tag["folder"], files) + after

    def _read_pil(self, tag: dict[str, Any]) -> Any:
        return importlib.import_module("PIL.Image").frombytes(tag["mode"], tuple(tag["size"]), self._any(tag["v"]))

    def _read_video(self, tag: dict[str, Any]) -> Any:
        try:
            return video.make(self._any(tag["v"]))
        except ImportError as error:
            what = f"This environment cannot make ComfyUI's VIDEO: {error}."
            raise CodedError("VALUE_NOT_PORTABLE", what, "Pass the pictures and the sound instead.") from error

    def _read_input(self, tag: dict[str, Any]) -> Any:
        self.seen.append(self._inputs[tag["of"]])
        return self.seen[-1]

    def _read_magic(self, tag: dict[str, Any]) -> Any:
        return magic.rebuild(tag, self._any(tag["v"]), self._any(tag.get("missing")))

    def _read_tensor(self, tag: dict[str, Any]) -> Any:
        place = len(self.seen)
        self.seen.append(None)
        try:
            import torch
        except ImportError as error:
            hint = "Add torch to the pack's requirements, or use an overlay environment."
            raise CodedError("VALUE_NOT_PORTABLE", "This environment has no torch, and the call carries a tensor.", hint) from error
        dtype, shape, ref = getattr(torch, tag["dtype"]), tag["shape"], tag["segment"]
        if ref is None:
            tensor = torch.empty(shape, dtype=dtype)
        else:
            count = math.prod(shape)
            tensor = _shaped(torch.frombuffer(self._map(ref), dtype=dtype, count=count, offset=ref["offset"]), tag)
        if tag["device"] is not None:
            tensor = _on_device(torch, tensor, tag["device"])
            self.from_gpu = self.from_gpu if ref is None else bool(self.from_gpu)
        self.seen[place] = tensor
        return tensor

    def _read_cuda(self, tag: dict[str, Any]) -> Any:
        torch = importlib.import_module("torch")
        flat = cuda.receive(torch, tag, math.prod(tag["shape"]), getattr(torch, tag["dtype"]))
        self.done.append(tag["lease"])
        self.from_gpu = True
        self.seen.append(_shaped(flat, tag))
        return self.seen[-1]

    def _read_ndarray(self, tag: dict[str, Any]) -> Any:
        place = len(self.seen)
        self.seen.append(None)
        import numpy

        dtype = numpy.lib.format.descr_to_dtype(_tuples(tag["dtype"]))
        if tag["segment"] is None:
            array = numpy.empty(tag["shape"], dtype)
        else:
            ref = tag["segment"]
            flat = numpy.frombuffer(self._map(ref), dtype=dtype, count=math.prod(tag["shape"]), offset=ref["offset"])
            array = flat.reshape(tag["shape"])
        self.seen[place] = array[()] if tag["scalar"] else array
        return self.seen[place]

    def _map(self, ref: Any) -> Any:
        """The mapping of a segment, one for all of a message's values in it."""
        if ref["lease"] not in self._maps:
            self._maps[ref["lease"]] = self._mapped.map(ref)
        return self._maps[ref["lease"]]


def _newer_api(name: str) -> Any:
    """A name of ComfyUI's V3 API, where it is loaded."""
    module: Any = sys.modules.get("comfy_api.latest._io") or sys.modules.get("comfy_api.latest.io")
    return getattr(module, name, None)


def _shaped(flat: Any, tag: dict[str, Any]) -> Any:
    """A tensor's bytes in the shape and order that its tag says."""
    if not tag["channels_last"]:
        return flat.view(tag["shape"])
    n, c, h, w = tag["shape"]
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)


def _on_device(torch: Any, tensor: Any, device: str) -> Any:
    """Back on the device that it came from, where this process has one of that name."""
    kind, _, index = device.partition(":")
    backend = getattr(torch, kind, None)
    if backend is None or not backend.is_available() or int(index or 0) >= backend.device_count():
        return tensor
    return tensor.to(device)


#: By the tag's name.
_READERS: dict[Any, Callable[[Decoder, dict[str, Any]], Any]] = {
    name.removeprefix("_read_"): read for name, read in vars(Decoder).items() if name.startswith("_read_")
}


def _tuples(descr: Any) -> Any:
    """A dtype description as numpy wants it: JSON has made its tuples lists."""
    if isinstance(descr, str):
        return descr
    return [
        tuple(_tuples(part) if i == 1 else (tuple(part) if isinstance(part, list) else part) for i, part in enumerate(field))
        for field in descr
    ]
