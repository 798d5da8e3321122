"""Python values from JSON, by the forms of `schemas/value.ts`; `encoder.py` makes them."""

from __future__ import annotations

import base64
import collections
import math
import pathlib
from collections.abc import Callable
from typing import Any

from . import magic
from .errors import CodedError
from .segments import map_segment


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
    """Decodes one message. `released(lease)` is told when the last view of a segment is gone."""

    def __init__(
        self,
        released: Callable[[str], None],
        handle: Callable[[dict[str, Any]], Any],
    ) -> None:
        self._released, self._handle = released, handle
        self._maps: dict[str, Any] = {}
        self._seen: list[Any] = []

    def decode(self, value: Any) -> Any:
        """The Python value of a JSON form."""
        try:
            return self._any(value)
        finally:
            self._maps = {}

    def _any(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._any(item) for item in value]
        if not isinstance(value, dict):
            return value
        read = getattr(self, f"_read_{value.get('$')}", None)
        if read is None:
            raise CodedError("BAD_REQUEST", f"a value of the unknown kind {value.get('$')!r}", "Restart ComfyUI: its parts differ.")
        return read(value)

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
        data = bytes(self._map(ref)[ref["offset"] : ref["offset"] + ref["bytes"]])
        if tag["kind"] == "str":
            return data.decode("utf-8", "surrogatepass")
        return bytearray(data) if tag["kind"] == "bytearray" else data

    def _read_blocker(self, tag: dict[str, Any]) -> Any:
        return make_blocker(self._any(tag["v"]))

    def _read_handle(self, tag: dict[str, Any]) -> Any:
        return self._handle(tag)

    def _read_same(self, tag: dict[str, Any]) -> Any:
        return self._seen[tag["of"]]

    def _read_magic(self, tag: dict[str, Any]) -> Any:
        return magic.rebuild(tag, self._any(tag["v"]), self._any(tag.get("missing")))

    def _read_tensor(self, tag: dict[str, Any]) -> Any:
        place = len(self._seen)
        self._seen.append(None)
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
            flat = torch.frombuffer(self._map(ref), dtype=dtype, count=count, offset=ref["offset"])
            if tag["channels_last"]:
                n, c, h, w = shape
                tensor = flat.view(n, h, w, c).permute(0, 3, 1, 2)
            else:
                tensor = flat.view(shape)
        self._seen[place] = tensor
        return tensor

    def _read_ndarray(self, tag: dict[str, Any]) -> Any:
        place = len(self._seen)
        self._seen.append(None)
        import numpy

        dtype = numpy.lib.format.descr_to_dtype(_tuples(tag["dtype"]))
        if tag["segment"] is None:
            array = numpy.empty(tag["shape"], dtype)
        else:
            ref = tag["segment"]
            flat = numpy.frombuffer(self._map(ref), dtype=dtype, count=math.prod(tag["shape"]), offset=ref["offset"])
            array = flat.reshape(tag["shape"])
        self._seen[place] = array[()] if tag["scalar"] else array
        return self._seen[place]

    def _map(self, ref: Any) -> Any:
        """The mapping of a segment, one for all of a message's values in it."""
        if ref["lease"] not in self._maps:
            self._maps[ref["lease"]] = map_segment(ref, self._released)
        return self._maps[ref["lease"]]


def _tuples(descr: Any) -> Any:
    """A dtype description as numpy wants it: JSON has made its tuples lists."""
    if isinstance(descr, str):
        return descr
    return [
        tuple(_tuples(part) if i == 1 else (tuple(part) if isinstance(part, list) else part) for i, part in enumerate(field))
        for field in descr
    ]
