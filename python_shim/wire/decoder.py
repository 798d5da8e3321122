"""Python values from JSON, by the forms of `schemas/value.ts`; `encoder.py` makes them."""

from __future__ import annotations

import base64
import functools
import importlib
import math
import pathlib
import struct
from collections.abc import Callable, Sequence
from typing import Any

from . import arrays, comfy_values, cuda, data_classes, magic, named, pictures, tensors, tree_reader, video
from .errors import CodedError
from .files import FileList
from .kinds import maker_of
from .mapping import MappedSegments
from .scalars import KNOWN_NANS, known_nan


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
        self.seen = tensors.Seen()
        self._shared: list[Any] = []
        #: What the node has written into its hidden inputs: ways to it, and what is there now.
        self.written: list[list[Any]] = []

    def decode(self, value: Any) -> Any:
        """The Python value of a JSON form. Raises OSError if the process that owns its memory is gone."""
        try:
            return self.part(value)
        finally:
            self._maps = {}

    def part(self, value: Any) -> Any:
        """A part of the message."""
        if isinstance(value, list):
            return [self.part(item) for item in value]
        if not isinstance(value, dict):
            return value
        read = _READERS.get(value.get("$"))
        if read is None:
            raise CodedError("BAD_REQUEST", f"a value of the unknown kind {value.get('$')!r}", "Restart ComfyUI: its parts differ.")
        return read(self, value)

    def _read_json(self, tag: dict[str, Any]) -> Any:
        return tag["v"]

    def _read_shared(self, tag: dict[str, Any]) -> Any:
        number = len(self._shared)
        self._shared.append(None)
        self._shared[number] = self.part(tag["v"])
        return self._shared[number]

    def _read_again(self, tag: dict[str, Any]) -> Any:
        return self.shared_one(tag["of"])

    def shared_one(self, number: int) -> Any:
        """What stands in the message more than once, by its number."""
        return self._shared[number]

    def _read_tuple(self, tag: dict[str, Any]) -> Any:
        return tuple(self.part(tag["v"]))

    def _read_named(self, tag: dict[str, Any]) -> Any:
        kind = named.class_of(tag["name"], tag["module"], tuple(tag["fields"]))
        return kind._make(self.part(tag["v"]))

    def _read_dict(self, tag: dict[str, Any]) -> Any:
        return {self.part(key): self.part(item) for key, item in tag["v"]}

    def _read_tree(self, tag: dict[str, Any]) -> Any:
        return tree_reader.read(self, tag)

    def _read_set(self, tag: dict[str, Any]) -> Any:
        return (frozenset if tag["frozen"] else set)(self.part(tag["v"]))

    def _read_numbers(self, tag: dict[str, Any]) -> Any:
        code, given = tag["code"], tag["v"]
        data = base64.b64decode(given) if isinstance(given, str) else self.part(given)
        return memoryview(data).cast(code).tolist()

    def _read_float(self, tag: dict[str, Any]) -> float:
        text = tag["v"]
        if text in KNOWN_NANS:
            known = known_nan(text)
            return known if type(known) is float else math.nan
        return struct.unpack(">d", bytes.fromhex(text[1:]))[0] if text[0] == "#" else float(text)

    def _read_int(self, tag: dict[str, Any]) -> int:
        return int(tag["v"], 0)

    def _read_kind(self, tag: dict[str, Any]) -> Any:
        name, parts = tag["kind"], [self.part(part) for part in tag["v"]]
        make = _LIBRARY_KINDS.get(name) or maker_of(name)
        if make is None:
            raise CodedError("BAD_REQUEST", f"a value of the unknown kind {name!r}", "Restart ComfyUI: its parts differ.")
        return _made(f"a {name}", make, parts)

    def _read_with(self, tag: dict[str, Any]) -> Any:
        number, made = len(self.seen), self.part(tag["v"])
        self.seen.tags.pop(number, None)
        vars(made).update(self.part(tag["names"]))
        return made

    def _read_complex(self, tag: dict[str, Any]) -> complex:
        return complex(*(self.part(part) for part in tag["v"]))

    def _read_bytes(self, tag: dict[str, Any]) -> bytes:
        return base64.b64decode(tag["v"])

    def _read_path(self, tag: dict[str, Any]) -> Any:
        return pathlib.Path(tag["v"])

    def _read_blob(self, tag: dict[str, Any]) -> Any:
        ref = tag["segment"]
        data = memoryview(self._map(ref)).cast("B")[ref["offset"] : ref["offset"] + ref["bytes"]]
        if tag["kind"] == "str":
            return str(data, "utf-8", "surrogatepass")
        return bytearray(data) if tag["kind"] == "bytearray" else bytes(data)

    def _read_blocker(self, tag: dict[str, Any]) -> Any:
        return comfy_values.make_blocker(self.part(tag["v"]))

    def _read_handle(self, tag: dict[str, Any]) -> Any:
        return self._handle(tag)

    def _read_same(self, tag: dict[str, Any]) -> Any:
        return self.seen[tag["of"]]

    def _read_node_output(self, tag: dict[str, Any]) -> Any:
        return comfy_values.make_node_output(*self.part(tag["v"]))

    def _read_dynprompt(self, tag: dict[str, Any]) -> Any:
        return _made("ComfyUI's DynamicPrompt", comfy_values.make_dynamic_prompt, self.part(tag["v"]))

    def _read_files(self, tag: dict[str, Any]) -> Any:
        before, files, after = (self.part(tag[name]) for name in ("before", "v", "after"))
        return before + FileList.of(tag["folder"], files) + after

    def _read_pil(self, tag: dict[str, Any]) -> Any:
        return _made("an image of PIL", pictures.make, self.part(tag["v"]))

    def _read_object(self, tag: dict[str, Any]) -> Any:
        return _made(f"ComfyUI's {tag['name']}", data_classes.make, [tag["name"], tag["module"], self.part(tag["v"])])

    def _read_video(self, tag: dict[str, Any]) -> Any:
        return _made("ComfyUI's VIDEO", video.make, [self.part(tag["v"])])

    def _read_wrote(self, tag: dict[str, Any]) -> Any:
        result = self.part(tag["v"])
        self.written = self.part(tag["changes"])
        return result

    def _read_input(self, tag: dict[str, Any]) -> Any:
        self.seen.append(self._inputs[tag["of"]])
        return self.seen[-1]

    def _read_magic(self, tag: dict[str, Any]) -> Any:
        return magic.rebuild(tag, self.part(tag["v"]), self.part(tag.get("missing")))

    def _read_tensor(self, tag: dict[str, Any]) -> Any:
        place = len(self.seen)
        self.seen.append(None)
        try:
            import torch
        except ImportError as error:
            hint = "Add torch to the pack's requirements, or use an overlay environment."
            raise CodedError("VALUE_NOT_PORTABLE", "This environment has no torch, and the call carries a tensor.", hint) from error
        with tensors.mode_of(torch, tag):
            tensor = self._tensor(torch, tag)
        self.seen[place], self.seen.tags[place] = tensor, tag
        return tensor

    def _tensor(self, torch: Any, tag: dict[str, Any]) -> Any:
        dtype, shape, ref = tensors.dtype_of(torch, tag["dtype"]), tag["shape"], tag["segment"]
        if ref is None:
            tensor = torch.empty(shape, dtype=dtype)
        else:
            count = math.prod(shape)
            tensor = _shaped(torch.frombuffer(self._map(ref), dtype=dtype, count=count, offset=ref["offset"]), tag)
        if tag["device"] is not None:
            tensor = _on_device(torch, tensor, tag["device"])
            self.from_gpu = self.from_gpu if ref is None else bool(self.from_gpu)
        return tensor

    def _read_cuda(self, tag: dict[str, Any]) -> Any:
        torch = importlib.import_module("torch")
        with tensors.mode_of(torch, tag):
            tensor = _shaped(cuda.receive(torch, tag, math.prod(tag["shape"]), tensors.dtype_of(torch, tag["dtype"])), tag)
        self.done.append(tag["lease"])
        self.from_gpu = True
        self.seen.append(tensor)
        return self.seen[-1]

    def _read_ndarray(self, tag: dict[str, Any]) -> Any:
        place = len(self.seen)
        self.seen.append(None)
        import numpy

        dtype = arrays.dtype_of(tag["dtype"])
        if tag["segment"] is None:
            array = numpy.empty(tag["shape"], dtype)
        else:
            ref = tag["segment"]
            flat = numpy.frombuffer(self._map(ref), dtype=dtype, count=math.prod(tag["shape"]), offset=ref["offset"])
            array = flat.reshape(tag["shape"])
        kind = tag.get("kind")
        if kind is not None:
            array = array.view(numpy.matrix if kind == "matrix" else numpy.recarray)
        if tag.get("readonly"):
            array.flags.writeable = False
        self.seen[place], self.seen.tags[place] = array[()] if tag["scalar"] else array, tag
        return self.seen[place]

    def _map(self, ref: Any) -> Any:
        """The mapping of a segment, one for all of a message's values in it."""
        if ref["lease"] not in self._maps:
            self._maps[ref["lease"]] = self._mapped.map(ref)
        return self._maps[ref["lease"]]


def _made(what: str, make: Callable[..., Any], parts: Sequence[Any]) -> Any:
    """A value of its parts. Raises VALUE_NOT_PORTABLE where this environment has no such package, time zone, return type …"""
    try:
        return make(*parts)
    except CodedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a library says
        text = f"This environment cannot make {what}, which the call carries: {error}."
        raise CodedError("VALUE_NOT_PORTABLE", text, "Add what is missing to the pack's requirements, or pass plain data.") from error


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


def _torch(name: str, *parts: Any) -> Any:
    torch: Any = importlib.import_module("torch")
    if name == "return_types":
        return getattr(torch.return_types, parts[0])(parts[1:])
    if name == "Size":
        return torch.Size(parts)
    if name == "device":
        return torch.device(parts[0])
    return tensors.dtype_of(torch, parts[0]) if name == "dtype" else _constant(torch, name, parts[0])


def _constant(torch: Any, kind: str, name: str) -> Any:
    found = getattr(torch, name, None)
    if type(found) is not getattr(torch, kind):
        raise CodedError("VALUE_NOT_PORTABLE", f"The torch of this environment has no {name}.", "Update torch there.")
    return found


_LIBRARY_KINDS: dict[str, Callable[..., Any]] = {
    **{f"torch.{name}": functools.partial(_torch, name) for name in ("Size", "dtype", "device", "layout", "memory_format", "return_types")},
    "numpy.dtype": arrays.dtype_of,
    "masked": arrays.make_masked,
    "bytearray": bytearray,
    "numpy.bytes_": lambda data: importlib.import_module("numpy").bytes_(data),
    "numpy.str_": lambda text: importlib.import_module("numpy").str_(text),
    "text": lambda data: data.decode("utf-8", "surrogatepass"),
}
