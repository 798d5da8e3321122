"""Python values to JSON, by the forms of `schemas/value.ts`; `decoder.py` goes back. Nothing is pickled.

Tensors and arrays travel as descriptors of shared memory. The bridge parses and prints the JSON on its way, so everything that
JavaScript would change (1.0 → 1, -0.0, big integers) is tagged.
"""

from __future__ import annotations

import base64
import io
import math
import pathlib
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from . import magic
from .errors import NotPortable
from .segments import SegmentPool

#: Strings and bytes from this size on go through shared memory.
BLOB_BYTES = 1 << 16
#: Tensors from this size on have a segment of their own; smaller ones of one message share.
OWN_SEGMENT_BYTES = 1 << 20
MAX_DEPTH = 100
_EXACT = 1 << 53
_ALIGN = 64
_RESOURCES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.ModuleType,
    io.IOBase,
    type(threading.Lock()),
    type(threading.RLock()),
)


class Encoder:
    """Encodes one message. `holder` names the process that will hold its leases.

    `handle(value)` turns an object that must stay into a handle's tag, or returns None if this side keeps no objects.
    """

    def __init__(
        self,
        pool: SegmentPool,
        holder: str,
        handle: Callable[[Any, str], dict[str, Any] | None] = lambda value, path: None,
        schema: bool = False,
    ) -> None:
        self.leases: list[str] = []
        self._pool, self._holder, self._handle, self._schema = pool, holder, handle, schema
        self._stack: set[int] = set()
        self._seen: dict[int, int] = {}
        self._keep: list[Any] = []
        self._shared: tuple[str, Any, int] | None = None

    def encode(self, value: Any, path: str) -> Any:
        """The JSON form of `value`; `path` is how an error names it. Leases of a failed encode are released."""
        try:
            return self._any(value, path)
        except BaseException:
            for lease in self.leases:
                self._pool.release(lease)
            raise

    def _any(self, value: Any, path: str) -> Any:
        if value is None or value is True or value is False:
            return value
        if self._schema:
            special = magic.probe(value)
            if special is not None:
                return self._magic(value, special, path)
        if isinstance(value, str):
            return self._text(value)
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
            return self._array(numpy, value, path)
        if isinstance(value, int):
            plain = int(value)
            return plain if -_EXACT < plain < _EXACT else {"$": "int", "v": str(plain)}
        if isinstance(value, float):
            plain = float(value)
            exact = math.isfinite(plain) and not plain.is_integer()
            return plain if exact else {"$": "float", "v": repr(plain)}
        if torch is not None and isinstance(value, torch.Tensor):
            return self._tensor(torch, value, path)
        if isinstance(value, (list, tuple, dict, set, frozenset)):
            return self._container(value, path)
        return self._other(value, path)

    def _text(self, value: str) -> Any:
        plain = str.__str__(value)
        if len(plain) < BLOB_BYTES or self._schema:  # a schema is kept on disk, where no segment lives
            return plain
        return self._blob("str", plain.encode("utf-8", "surrogatepass"))

    def _blob(self, kind: str, data: bytes | bytearray) -> Any:
        lease, segment, offset = self._room(len(data))
        segment.map[offset : offset + len(data)] = data
        return {"$": "blob", "kind": kind, "segment": self._pool.ref(lease, segment, offset, len(data))}

    def _container(self, value: Any, path: str) -> Any:
        if id(value) in self._stack:
            raise NotPortable(path, "a container that holds itself", "which cannot be sent", "Return a structure without cycles.")
        if len(self._stack) >= MAX_DEPTH:
            raise NotPortable(path, f"nested deeper than {MAX_DEPTH} levels", "which cannot be sent", "Return a flatter structure.")
        self._stack.add(id(value))
        try:
            return self._items(value, path)
        finally:
            self._stack.discard(id(value))

    def _items(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            pairs = [[self._any(k, f"a key of {path}"), self._any(v, f"{path}[{k!r:.80}]")] for k, v in value.items()]
            return {"$": "dict", "v": pairs}
        items = [self._any(item, f"{path}[{i}]") for i, item in enumerate(value)]
        if isinstance(value, list):
            return items
        if isinstance(value, (set, frozenset)):
            return {"$": "set", "v": items, "frozen": isinstance(value, frozenset)}
        fields = getattr(value, "_fields", None)
        if isinstance(fields, tuple):
            return {"$": "named", "name": type(value).__name__, "fields": list(fields), "v": items}
        return {"$": "tuple", "v": items}

    def _magic(self, value: Any, special: dict[str, Any], path: str) -> Any:
        tag: dict[str, Any] = {"$": "magic", "kind": special["kind"]}
        if special["kind"] == "str":
            return {**tag, "v": str.__str__(value), "ne": special["ne"]}
        plain = dict(value) if special["kind"] == "dict" else tuple(tuple.__iter__(value))
        return {**tag, "v": self._items(plain, path), "missing": self._any(special["missing"], path)}

    def _other(self, value: Any, path: str) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview)):
            kind = "bytearray" if isinstance(value, bytearray) else "bytes"
            data = bytes(value) if isinstance(value, memoryview) else value
            if kind == "bytes" and len(data) < BLOB_BYTES:
                return {"$": "bytes", "v": base64.b64encode(data).decode()}
            return self._blob(kind, data)
        if isinstance(value, complex):
            return {"$": "complex", "v": [value.real, value.imag]}
        if isinstance(value, pathlib.PurePath):
            return {"$": "path", "v": str(value)}
        if type(value).__name__ == "ExecutionBlocker" and hasattr(value, "message"):
            return {"$": "blocker", "v": self._any(value.message, path)}
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, _RESOURCES):
            raise NotPortable(path, f"a {name}", "which cannot leave its process", "Return data instead.")
        tag = self._handle(value, path)
        if tag is None:
            hint = "Run both nodes in the same place: switch isolation of this node pack off, or pass data instead."
            raise NotPortable(path, f"a {name}", "a live object that cannot leave its process", hint)
        return tag

    def _tensor(self, torch: Any, value: Any, path: str) -> Any:
        if id(value) in self._seen:
            return {"$": "same", "of": self._seen[id(value)]}
        if value.layout is not torch.strided or value.is_quantized or value.device.type == "meta":
            raise NotPortable(path, f"a {value.layout} tensor on {value.device}", "which has no plain bytes", "Return a dense tensor.")
        self._remember(value)
        plain = value.detach().cpu().resolve_conj().resolve_neg()
        last = plain.dim() == 4 and not plain.is_contiguous() and plain.is_contiguous(memory_format=torch.channels_last)
        ref = None
        if plain.numel():
            nbytes = plain.numel() * plain.element_size()
            lease, segment, offset = self._room(nbytes)
            room = torch.frombuffer(segment.map, dtype=plain.dtype, count=plain.numel(), offset=offset)
            source = plain.permute(0, 2, 3, 1) if last else plain
            room.view(source.shape).copy_(source)
            ref = self._pool.ref(lease, segment, offset, nbytes)
        dtype = str(plain.dtype).removeprefix("torch.")
        return {"$": "tensor", "dtype": dtype, "shape": list(plain.shape), "channels_last": last, "segment": ref}

    def _array(self, numpy: Any, value: Any, path: str) -> Any:
        if id(value) in self._seen:
            return {"$": "same", "of": self._seen[id(value)]}
        array = numpy.asarray(value)
        if array.dtype.hasobject:
            hint = "Return a list, or an array of numbers or text."
            raise NotPortable(path, "a numpy array of Python objects", "which has no plain bytes", hint)
        self._remember(value)
        ref = None
        if array.nbytes:
            lease, segment, offset = self._room(array.nbytes)
            room = numpy.frombuffer(segment.map, dtype=array.dtype, count=array.size, offset=offset).reshape(array.shape)
            room[...] = array
            del room
            ref = self._pool.ref(lease, segment, offset, array.nbytes)
        dtype = numpy.lib.format.dtype_to_descr(array.dtype)
        scalar = isinstance(value, numpy.generic)
        return {"$": "ndarray", "dtype": dtype, "shape": list(array.shape), "scalar": scalar, "segment": ref}

    def _remember(self, value: Any) -> None:
        """Number a tensor or array, so that a second reference to it stays one object."""
        self._seen[id(value)] = len(self._keep)
        self._keep.append(value)

    def _room(self, nbytes: int) -> tuple[str, Any, int]:
        """A place for `nbytes`: lease, segment and offset."""
        if nbytes >= OWN_SEGMENT_BYTES:
            lease, segment = self._pool.lease(nbytes, self._holder)
            self.leases.append(lease)
            return lease, segment, 0
        if self._shared is not None:
            lease, segment, used = self._shared
            if used + nbytes <= segment.size:
                self._shared = (lease, segment, -(-(used + nbytes) // _ALIGN) * _ALIGN)
                return lease, segment, used
        lease, segment = self._pool.lease(max(nbytes, OWN_SEGMENT_BYTES // 4), self._holder)
        self.leases.append(lease)
        self._shared = (lease, segment, -(-nbytes // _ALIGN) * _ALIGN)
        return lease, segment, 0
