"""Python values to JSON, by the forms of `schemas/value.ts`; `decoder.py` goes back. Nothing is pickled.

A value of exactly a known class crosses whole: the same type and content, and what is one object here is one there. Everything else
stays where it is behind a handle, or is an error that names its place. Nothing is converted. Tensors, arrays, long texts and many
numbers travel through shared memory.
"""

from __future__ import annotations

import base64
import io
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

from . import place
from .buffers import Buffers
from .errors import CodedError, NotPortable
from .mapping import MappedSegments
from .place import Place, kind_name
from .scalars import BLOB_BYTES, is_json
from .segments import SegmentPool
from .survey import MAX_DEPTH, Survey, is_small
from .writers import WRITERS, float_form, writer_for

_EXACT = 1 << 53
_RESOURCES = (
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.ModuleType,
    io.IOBase.__mro__[1],  # below its ABC, which asks classes for their hash
    type(threading.Lock()),
    type(threading.RLock()),
)

_EMPTY = Survey(None)
#: In place of a number: it is being written, so it would hold itself.
_OPEN = -1


class _HandleFailed(BaseException):
    """What `handle` raised: no fault of the value that is being written."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class Encoder(Buffers):
    """Encodes one message.

    `handle(value, place)` turns an object that must stay into a handle's tag, or another; None: this side keeps no objects. `drop` takes
    the ids of those that a failed encode made. `mapped`: what this process has of other processes' memory, and may pass on. `gpu`: hand
    tensors on a GPU over there: "check" with a canary, "yes" without. `inputs`: the tensors and arrays of the call that this message
    answers, in order; one that comes back unchanged travels as its number.
    """

    def __init__(
        self,
        pool: SegmentPool,
        handle: Callable[[Any, str], dict[str, Any] | None] = lambda value, path: None,
        schema: bool = False,
        mapped: MappedSegments | None = None,
        inputs: Sequence[Any] = (),
        gpu: str | None = None,
        drop: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__(pool, mapped, inputs, gpu)
        #: Ids of the handles in this message.
        self.handles: list[str] = []
        self._handle, self._schema, self._drop = handle, schema, drop
        self.survey: Survey = _EMPTY
        self._small = False
        #: Of what is shared: its numbers, and how many there were in earlier values of this message.
        self._numbers: dict[int, int] | None = None
        self._count = 0

    def encode(self, value: Any, path: str) -> Any:
        """The JSON form of `value`; `path` is how an error names it. A failed encode leaves neither leases nor handles."""
        try:
            if self._schema:
                from .schema_values import SchemaValues

                return SchemaValues(self._handle).form(value, path)
            return self._whole(value, place.root(path))
        except BaseException as error:
            self._undo()
            if isinstance(error, _HandleFailed):
                raise error.cause from None
            raise

    def _whole(self, value: Any, at: Place) -> Any:
        try:
            self._small = is_small(value)
            self.survey, self._numbers = _EMPTY if self._small else Survey(value), None
        except (CodedError, MemoryError):
            raise
        except Exception as error:
            raise _unreadable(value, at, error) from error
        return self.form(value, at)

    def _undo(self) -> None:
        self.release()
        made, self.handles = self.handles, []
        if made and self._drop is not None:
            self._drop(made)

    def form(self, value: Any, at: Place) -> Any:
        """The JSON form of a value in the message."""
        kind = type(value)
        if kind is str:
            return value if len(value) < BLOB_BYTES and is_json(value) else self._text(value)
        if kind is int:
            return value if -_EXACT < value < _EXACT else {"$": "int", "v": hex(value)}
        if value is None or kind is bool:
            return value
        if kind is float:
            return float_form(value)
        if at[3] >= MAX_DEPTH:
            what = f"nested deeper than {MAX_DEPTH} levels"
            raise NotPortable(place.name_of(at), what, "which cannot be sent", "Return a flatter structure.")
        survey = self.survey
        if survey.shared and id(value) in survey.shared:
            return self._shared(value, at)
        return self._write(value, kind, at)

    def _text(self, value: str) -> Any:
        data = value.encode("utf-8", "surrogatepass")
        if len(value) < BLOB_BYTES:
            return {"$": "kind", "kind": "text", "v": [{"$": "bytes", "v": base64.b64encode(data).decode()}]}
        return self.blob("str", data)

    def _write(self, value: Any, kind: type, at: Place) -> Any:
        if self._small and (kind is list or kind is dict or kind is tuple):
            return self._write_small(value, kind, at)
        if (kind is list or kind is dict) and id(value) in self.survey.plain:
            return {"$": "json", "v": value}
        try:
            write = WRITERS.get(kind) or writer_for(kind)
        except Exception:  # noqa: BLE001 - a class without a hash, or with a metaclass of a pack's own
            write = None
        try:
            form = None if write is None else write(self, value, at)
            return self._stay(value, at) if form is None else form
        except (CodedError, MemoryError):
            raise
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError":  # torch's: ComfyUI unloads its models then
                raise
            raise _unreadable(value, at, error) from error

    def _write_small(self, value: Any, kind: type, at: Place) -> Any:
        """A container of a small value, item by item."""
        if kind is dict:
            deep, form = at[3] + 1, self.form
            return {"$": "dict", "v": [[form(key, at), form(item, (at, place.ITEM, key, deep))] for key, item in value.items()]}
        forms = self.items(value, at)
        return forms if kind is list else {"$": "tuple", "v": forms}

    def number_of(self, value: Any) -> int | None:
        """The number of a shared value that the message has whole already."""
        number = None if self._numbers is None else self._numbers.get(id(value))
        return None if number == _OPEN else number

    def _shared(self, value: Any, at: Place) -> Any:
        """What stands in the message more than once: the first time as it is, with a number; then as that number."""
        key = id(value)
        if self._numbers is None:
            self._numbers = {}
        number = self._numbers.get(key)
        if number == _OPEN and (again := self.again(value)) is not None:
            return again  # a tensor in its own attributes
        if number == _OPEN:
            what = "a container that holds itself"
            raise NotPortable(place.name_of(at), what, "which cannot be sent", "Return a structure without cycles.")
        if number is not None:
            return {"$": "again", "of": number}
        number, self._numbers[key] = self._count, _OPEN
        self._count += 1
        form = {"$": "shared", "v": self._write(value, type(value), at)}
        self._numbers[key] = number
        return form

    def _stay(self, value: Any, at: Place) -> Any:
        """An object that cannot cross: its handle's tag."""
        name, path = kind_name(value), place.name_of(at)
        if _is_a(value, _RESOURCES):
            raise NotPortable(path, f"a {name}", "which cannot leave its process", "Return data instead.")
        try:
            tag = self._handle(value, path)
        except Exception as error:
            raise _HandleFailed(error) from error
        if tag is None:
            raise _refused(value, name, path)
        if "id" in tag:
            self.handles.append(tag["id"])
        return tag

    def items(self, values: Sequence[Any], at: Place) -> list[Any]:
        """The forms of a few parts, one by one."""
        deep = at[3] + 1
        return [self.form(item, (at, place.ITEM, index, deep)) for index, item in enumerate(values)]


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    """`isinstance`, without asking the value: a pack's class may answer anything, or raise."""
    return any(base is kind for base in type.__dict__["__mro__"].__get__(type(value)) for kind in kinds)


def _unreadable(value: Any, at: Place, error: Exception) -> NotPortable:
    """What a library said while a value was read, with the value's place."""
    why = f"which cannot be read ({type(error).__name__}: {error!s:.300})"
    return NotPortable(place.name_of(at), f"a {kind_name(value)}", why, "Return it while it is whole: not released, closed or in use.")


def _refused(value: Any, name: str, path: str) -> NotPortable:
    for plain in (str, int, float, dict, list, tuple, set, frozenset):
        if _is_a(value, (plain,)):
            what = f"which is more than a {plain.__name__} and cannot leave its process as itself"
            return NotPortable(path, f"a {name}", what, f"Pass a plain {plain.__name__} instead, or run both nodes in the same place.")
    hint = "Run both nodes in the same place: switch isolation of this node pack off, or pass data instead."
    return NotPortable(path, f"a {name}", "a live object that cannot leave its process", hint)
