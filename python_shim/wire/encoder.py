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
from collections.abc import Callable, Sequence
from typing import Any

from . import cuda, magic, video
from .copying import copy_tensor
from .errors import NotPortable
from .files import FileList, Listing
from .mapping import MappedSegments
from .places import Places
from .segments import SegmentPool
from .tensors import is_same, name_of, plain_of

#: Strings and bytes from this size on go through shared memory.
BLOB_BYTES = 1 << 16
MAX_DEPTH = 100
_EXACT = 1 << 53
#: Modes of PIL images whose pixels say all.
_PIL_MODES = frozenset(("1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"))
#: The fields of ComfyUI's DynamicPrompt (`comfy_execution/graph.py`).
DYNAMIC_PROMPT = ("original_prompt", "ephemeral_prompt", "ephemeral_parents", "ephemeral_display")
_RESOURCES = (
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.ModuleType,
    io.IOBase,
    type(threading.Lock()),
    type(threading.RLock()),
)


class Encoder:
    """Encodes one message.

    `handle(value)` turns an object that must stay into a handle's tag, or returns None if this side keeps no objects. `mapped`: what
    this process has of other processes' memory, and may pass on. `gpu`: hand tensors on a GPU over there: "check" with a canary, "yes"
    without. `inputs`: the tensors and arrays of the call that this message answers, in order; one that comes back unchanged travels as its
    number.
    """

    def __init__(
        self,
        pool: SegmentPool,
        handle: Callable[[Any, str], dict[str, Any] | None] = lambda value, path: None,
        schema: bool = False,
        mapped: MappedSegments | None = None,
        inputs: Sequence[Any] = (),
        gpu: str | None = None,
    ) -> None:
        self._places = Places(pool)
        self.leases = self._places.leases
        #: Tensors and arrays in their order: what `inputs` is on the way back.
        self.kept: list[Any] = []
        self._pool, self._handle, self._schema, self._mapped, self._inputs = pool, handle, schema, mapped, inputs
        self._gpu = gpu
        #: Whether a tensor is handed over on its GPU.
        self.on_gpu = False
        self._stack: set[int] = set()
        self._seen: dict[int, int] = {}

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
            listing = value.listing() if isinstance(value, FileList) else None
            if listing is not None:
                return self._listing(listing, path)
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
        lease, segment, offset = self._places.room(len(data))
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
        plain: Any = tuple(tuple.__iter__(value)) if special["kind"] == "tuple" else dict(value) if isinstance(value, dict) else {}
        return {**tag, "v": self._items(plain, path), "missing": self._any(special["missing"], path)}

    def _listing(self, listing: Listing, path: str) -> dict[str, Any]:
        parts = {"v": listing.files, "before": listing.before, "after": listing.after}
        encoded = {name: [self._any(item, path) for item in part] for name, part in parts.items()}
        return {"$": "files", "folder": listing.folder, **encoded}

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
        if type(value).__module__.startswith("PIL.") and hasattr(value, "tobytes") and hasattr(value, "mode"):
            plain = value if value.mode in _PIL_MODES else value.convert("RGBA" if "transparency" in value.info else "RGB")
            return {"$": "pil", "mode": plain.mode, "size": list(plain.size), "v": self._any(plain.tobytes(), path)}
        if type(value).__name__ == "DynamicPrompt" and hasattr(value, "get_original_prompt"):
            graph = [vars(value).get(name) for name in DYNAMIC_PROMPT]
            return {"$": "dynprompt", "v": [self._any(part, path) for part in graph]}
        if hasattr(value, "block_execution") and hasattr(value, "expand") and hasattr(value, "args"):
            ui = value.ui.as_dict() if hasattr(value.ui, "as_dict") else value.ui
            parts = (tuple(value.args), ui, value.expand, value.block_execution)
            return {"$": "node_output", "v": self._container(parts, path)}
        film = video.parts(value)
        if film is not None:
            return {"$": "video", "v": self._container(film, path)}
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
        plain = plain_of(torch, value, path)
        self._remember(value)
        whole = plain.is_contiguous()
        last = not whole and plain.dim() == 4 and plain.is_contiguous(memory_format=torch.channels_last)
        device = None if plain.is_cpu else str(plain.device)
        nbytes = plain.numel() * plain.element_size()
        ref = None
        if nbytes and device is not None and (on_gpu := self._on_gpu(torch, plain, last)) is not None:
            return on_gpu
        if nbytes:
            found = self._passed_on(value, plain.data_ptr(), nbytes) if device is None and (whole or last) else None
            if isinstance(found, int):
                return {"$": "input", "of": found}
            ref = found or self._copied(torch, plain.permute(0, 2, 3, 1) if last else plain, nbytes)
        return {
            "$": "tensor",
            "dtype": name_of(plain.dtype),
            "shape": list(plain.shape),
            "channels_last": last,
            "device": device,
            "segment": ref,
        }

    def _on_gpu(self, torch: Any, plain: Any, last: bool) -> Any:
        """The tensor stays where it is, and is kept until the receiver has its own copy. None if that cannot be."""
        if self._gpu is None or not cuda.usable(torch, plain):
            return None
        source = plain.permute(0, 2, 3, 1) if last else plain.contiguous()
        shared = cuda.share(torch, source, self._gpu == "check")
        if shared is None:
            return None
        named, keeper = shared
        lease = self._pool.pass_on(keeper)
        self.leases.append(lease)
        self.on_gpu = True
        return {"$": "cuda", "dtype": name_of(plain.dtype), "shape": list(plain.shape), "channels_last": last, "lease": lease, **named}

    def _copied(self, torch: Any, source: Any, nbytes: int) -> Any:
        """The bytes of `source`, in C order, in memory of ours."""
        lease, segment, offset = self._places.room(nbytes)
        copy_tensor(torch, source, segment, offset)
        return self._pool.ref(lease, segment, offset, nbytes)

    def _passed_on(self, value: Any, address: int, nbytes: int) -> Any:
        """For memory of another process that nothing was written into: a lease on it; for one of `inputs`, its number."""
        found = None if self._mapped is None else self._mapped.find(address, nbytes)
        if found is None:
            return None
        for number, given in enumerate(self._inputs):
            if given is value or is_same(given, value, address):
                return number
        mapping, keeper = found
        lease = self._pool.pass_on(keeper)
        self.leases.append(lease)
        return {**mapping.ref, "lease": lease, "offset": address - mapping.address, "bytes": nbytes}

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
            address = array.__array_interface__["data"][0]
            found = self._passed_on(value, address, array.nbytes) if array.flags.c_contiguous else None
            if isinstance(found, int):
                return {"$": "input", "of": found}
            ref = found or self._copied_array(numpy, array)
        dtype = numpy.lib.format.dtype_to_descr(array.dtype)
        return {"$": "ndarray", "dtype": dtype, "shape": list(array.shape), "scalar": isinstance(value, numpy.generic), "segment": ref}

    def _copied_array(self, numpy: Any, array: Any) -> Any:
        lease, segment, offset = self._places.room(array.nbytes)
        room = numpy.frombuffer(segment.map, dtype=array.dtype, count=array.size, offset=offset).reshape(array.shape)
        room[...] = array
        return self._pool.ref(lease, segment, offset, array.nbytes)

    def _remember(self, value: Any) -> None:
        """Number a tensor or array, so that a second reference to it stays one object."""
        self._seen[id(value)] = len(self.kept)
        self.kept.append(value)
