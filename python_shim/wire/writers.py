"""How a value of each known class is written; `readers.py` has the other half of what is not obvious. See `encoder.py`."""

from __future__ import annotations

import base64
import functools
import math
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import arrays, comfy_values, data_classes, named, pictures, place, tensors, tree, video
from .errors import NotPortable
from .files import FileList
from .kinds import kind_of
from .place import Place, below
from .scalars import BLOB_BYTES, KNOWN_NANS, known_nan
from .survey import CHILDREN, CONTAINERS, ONE_PIECE
from .tensors import is_tensor

if TYPE_CHECKING:
    from .encoder import Encoder

Write = Callable[["Encoder", Any, Place], Any]
#: `nan` is these bytes; any other NaN is told with its bits.
_NAN = struct.pack(">d", math.nan)


def float_form(value: float) -> Any:
    if math.isfinite(value):
        return value
    name = next((name for name in KNOWN_NANS if known_nan(name) is value), None)
    if name is not None:
        return {"$": "float", "v": name}
    bits = struct.pack(">d", value)
    return {"$": "float", "v": repr(value) if bits == _NAN or math.isinf(value) else f"#{bits.hex()}"}


def _write_bytes(encoder: Encoder, value: Any, at: Place) -> Any:
    if type(value) is bytes and len(value) < BLOB_BYTES:
        return {"$": "bytes", "v": base64.b64encode(value).decode()}
    if not value:
        return {"$": "kind", "kind": "bytearray", "v": []}
    return encoder.blob(type(value).__name__, value)


def _write_tensor(encoder: Encoder, value: Any, at: Place) -> Any:
    again = encoder.again(value)
    if again is not None:
        return again
    own = value.__dict__
    form = encoder.tensor(value, not own)
    return form if not own or form is None else {"$": "with", "v": form, "names": tree.write(encoder, own, at)}


def _write_array(kind: str, encoder: Encoder, value: Any, at: Place) -> Any:
    if kind == "scalar" and value.dtype.kind in "SU":  # an array's item loses its last NULs
        plain = bytes(value) if value.dtype.kind == "S" else str.__str__(value)
        return _parts(f"numpy.{type(value).__name__}", [plain], encoder, at)
    again = encoder.again(value)
    if again is not None:
        return again
    if value.dtype.hasobject and value.dtype.kind != "T":
        hint = "Return a list, or an array of numbers or text."
        raise NotPortable(place.name_of(at), "a numpy array of Python objects", "which has no plain bytes", hint)
    if kind == "masked":
        return _parts("masked", arrays.masked_parts(value), encoder, at)
    if kind in ("matrix", "recarray") and set(vars(value)) - {"_getitem"}:
        return None
    return encoder.array(value, kind)


def _parts(name: str, parts: list[Any] | None, encoder: Encoder, at: Place) -> Any:
    return None if parts is None else {"$": "kind", "kind": name, "v": encoder.items(parts, at)}


def _write_kind(encoder: Encoder, value: Any, at: Place) -> Any:
    kind = kind_of(type(value))
    return None if kind is None else _parts(kind.name, kind.split(value), encoder, at)


def _write_named(encoder: Encoder, value: Any, at: Place) -> Any:
    return {"$": "named", **named.describe(type(value)), "v": encoder.items(value, at)}


def _write_node_output(encoder: Encoder, value: Any, at: Place) -> Any:
    parts = comfy_values.held(value, comfy_values.NODE_OUTPUT)
    if parts is None:
        return None
    args, ui, expand, blocked = parts
    shown = comfy_values.for_browser(ui.as_dict() if hasattr(ui, "as_dict") else ui)
    forms = [encoder.form(part, at) for part in (tuple(args), shown, expand, blocked)]
    return {"$": "node_output", "v": {"$": "tuple", "v": forms}}


def _write_video(encoder: Encoder, value: Any, at: Place) -> Any:
    parts = video.parts(value)
    return None if parts is None else {"$": "video", "v": encoder.form(parts, at)}


def _write_object(encoder: Encoder, value: Any, at: Place) -> Any:
    kind = type(value)
    return {"$": "object", "name": kind.__qualname__, "module": kind.__module__, "v": encoder.form(vars(value), at)}


def _write_held(tag: str, names: tuple[str, ...], encoder: Encoder, value: Any, at: Place) -> Any:
    parts = comfy_values.held(value, names)
    if parts is None:
        return None
    return {"$": tag, "v": [encoder.form(part, below(at, place.PART, name)) for name, part in zip(names, parts, strict=True)]}


WRITERS: dict[type, Write] = {
    FileList: lambda encoder, value, at: tree.write(encoder, list(value), at),
    **dict.fromkeys(CONTAINERS, tree.write),
    bytes: _write_bytes,
    bytearray: _write_bytes,
    complex: lambda encoder, value, at: {"$": "complex", "v": [float_form(value.real), float_form(value.imag)]},
}

CHILDREN[FileList] = list.__iter__


def writer_for(kind: type) -> Write | None:
    """How values of a class that is met for the first time are written; None if they are not."""
    write: Any = None
    if is_tensor(kind):
        ONE_PIECE.add(kind)
        write, CHILDREN[kind] = _write_tensor, lambda value: value.__dict__.values()
    elif (array := arrays.array_kind(kind)) is not None:
        write = functools.partial(_write_array, array)
    elif kind_of(kind) is not None:
        write = _write_kind
    elif named.is_named(kind):
        return _write_named  # not remembered: it is a pack's class
    else:
        write = _of_libraries(kind)
    if write is not None:
        CHILDREN.setdefault(kind, lambda value: ())
        WRITERS[kind] = write
    return write


def _of_libraries(kind: type) -> Write | None:
    """Of torch, numpy, PIL and ComfyUI."""
    torch, numpy = (sys.modules.get(name) for name in ("torch", "numpy"))
    if torch is not None and (write := _of_torch(torch, kind)) is not None:
        return write
    if numpy is not None and hasattr(numpy, "dtype") and issubclass(kind, numpy.dtype):
        return _write_dtype
    if pictures.is_picture(kind):
        CHILDREN[kind] = lambda value: (value.info,)
        return _write_picture
    if comfy_values.is_blocker(kind):
        CHILDREN[kind] = lambda value: vars(value).values()
        return _write_blocker
    if comfy_values.is_dynamic_prompt(kind):
        CHILDREN[kind] = lambda value: vars(value).values()
        return functools.partial(_write_held, "dynprompt", comfy_values.DYNAMIC_PROMPT)
    if comfy_values.is_node_output(kind):
        CHILDREN[kind] = lambda value: (value.args, value.expand)
        return _write_node_output
    if video.is_video(kind):
        CHILDREN[kind] = video.held
        return _write_video
    if data_classes.is_data_class(kind):
        CHILDREN[kind] = lambda value: (vars(value),)
        return _write_object
    return None


def _of_torch(torch: Any, kind: type) -> Write | None:
    if not hasattr(torch, "Size"):  # its import has not ended
        return None
    if kind is torch.Size:
        return lambda encoder, value, at: {"$": "kind", "kind": "torch.Size", "v": list(value)}
    for name in ("dtype", "device", "layout", "memory_format"):
        if kind is getattr(torch, name):
            return lambda encoder, value, at: {"$": "kind", "kind": f"torch.{name}", "v": [tensors.name_of(value)]}
    if kind is getattr(getattr(torch, "return_types", None), kind.__name__, None):
        CHILDREN[kind] = tuple.__iter__
        return lambda encoder, value, at: _parts("torch.return_types", [kind.__name__, *value], encoder, at)
    return None


def _write_dtype(encoder: Encoder, value: Any, at: Place) -> Any:
    described = arrays.description_of(value)
    if described is None or type(arrays.dtype_of(described)) is not type(value):
        return None
    return {"$": "kind", "kind": "numpy.dtype", "v": [{"$": "json", "v": described}]}


def _write_picture(encoder: Encoder, value: Any, at: Place) -> Any:
    parts = pictures.parts(value)
    if parts is None:
        return None
    mode, size, pixels, palette, info = parts
    forms = [mode, {"$": "json", "v": size}, encoder.form(pixels, at), encoder.form(palette, at)]
    return {"$": "pil", "v": [*forms, encoder.form(info, below(at, place.PART, "info"))]}


def _write_blocker(encoder: Encoder, value: Any, at: Place) -> Any:
    parts = comfy_values.held(value, ("message",))
    return None if parts is None else {"$": "blocker", "v": encoder.form(parts[0], at)}
