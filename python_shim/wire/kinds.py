"""Values of the standard library that are plain data: each is taken apart, and made of its parts again.

A class is known by its identity; a subclass is another class, and stays where it is.
"""

from __future__ import annotations

import array
import collections
import datetime
import importlib
import io
import pathlib
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .survey import CHILDREN

Split = Callable[[Any], "list[Any] | None"]


class Kind(NamedTuple):
    """`split` gives the parts, or None for a value that has more to it; `make` the value."""

    name: str
    split: Split
    make: Callable[..., Any]


#: By class, and by name.
KINDS: dict[type, Kind] = {}
MAKERS: dict[str, Callable[..., Any]] = {}
#: What a defaultdict may make: nothing else can be named over there.
_FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (list, dict, set, tuple, int, float, str, bool, bytes, frozenset)}


def know(
    kind: type, split: Split, make: Callable[..., Any], name: str = "", children: Callable[[Any], Iterable[Any]] | None = None
) -> None:
    """From now on values of exactly this class cross."""
    name = name or kind.__name__
    KINDS[kind], MAKERS[name] = Kind(name, split, make), make
    if children is not None:
        CHILDREN[kind] = children


def _zone(value: Any) -> bool:
    """Whether a time's zone crosses: an offset, or one that has a name."""
    zones: Any = sys.modules.get("zoneinfo")
    known = type(value) in (type(None), datetime.timezone) or (zones is not None and type(value) is zones.ZoneInfo)
    return known and getattr(value, "key", "") is not None


def _no_fold(value: Any) -> list[Any] | None:
    if not _zone(value.tzinfo):
        return None
    return [value.hour, value.minute, value.second, value.microsecond, _zone_parts(value.tzinfo), value.fold]


def _zone_parts(zone: Any) -> Any:
    if zone is None:
        return None
    if type(zone) is datetime.timezone:
        return _timezone(zone)
    return zone.key


def _timezone(zone: datetime.timezone) -> list[Any]:
    offset = zone.utcoffset(None)
    plain = datetime.timezone(offset)
    name = zone.tzname(None)
    return [offset.days, offset.seconds, offset.microseconds, None if plain.tzname(None) == name else name]


def _make_timezone(days: int, seconds: int, micros: int, name: str | None) -> datetime.timezone:
    offset = datetime.timedelta(days, seconds, micros)
    if name is None:
        return datetime.timezone.utc if not offset else datetime.timezone(offset)
    return datetime.timezone(offset, name)


def _make_zone(parts: Any) -> Any:
    if parts is None or not isinstance(parts, str):
        return None if parts is None else _make_timezone(*parts)
    import zoneinfo

    return zoneinfo.ZoneInfo(parts)


def _datetime(value: Any) -> list[Any] | None:
    time = _no_fold(value)
    return None if time is None else [value.year, value.month, value.day, *time]


def _make_datetime(*parts: Any) -> datetime.datetime:
    *numbers, zone, fold = parts
    return datetime.datetime(*numbers, tzinfo=_make_zone(zone), fold=fold)


def _make_time(*parts: Any) -> datetime.time:
    *numbers, zone, fold = parts
    return datetime.time(*numbers, tzinfo=_make_zone(zone), fold=fold)


def _pairs(value: Any) -> list[Any] | None:
    """An OrderedDict's or a Counter's; None for one that has attributes of its own."""
    return None if getattr(value, "__dict__", None) else [list(value), list(value.values())]


def _counter(keys: list[Any], values: list[Any]) -> Any:
    made: Any = collections.Counter()
    for key, value in zip(keys, values, strict=True):
        dict.__setitem__(made, key, value)
    return made


def _defaultdict(value: Any) -> list[Any] | None:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "") if isinstance(factory, type) else ""
    if name is not None and _FACTORIES.get(name) is not factory:
        return None
    return [name, list(value), list(value.values())]


def _make_defaultdict(name: str | None, keys: list[Any], values: list[Any]) -> Any:
    return collections.defaultdict(None if name is None else _FACTORIES[name], zip(keys, values, strict=True))


def _view(value: memoryview) -> list[Any] | None:
    """Of plain numbers in one piece. It arrives as a view of its own bytes."""
    native = len(value.format) == 1 and value.format in "bBhHiIlLqQfd?c"
    shape = list(value.shape or ())
    if not value.c_contiguous or not native or not shape or (len(shape) > 1 and 0 in shape):
        return None
    return [value.format, shape, value.readonly, value.tobytes()]


def _make_view(form: str, shape: list[int], readonly: bool, data: bytes) -> memoryview:
    view: Any = memoryview(data if readonly else bytearray(data))
    return view.cast("B").cast(form, shape) if len(shape) > 1 else view.cast(form)


def _file_in_memory(value: io.BytesIO) -> list[Any]:
    return [value.getvalue(), value.tell(), vars(value)]


def _make_file_in_memory(data: bytes, position: int, attributes: dict[str, Any]) -> io.BytesIO:
    made = io.BytesIO(data)
    made.seek(position)
    vars(made).update(attributes)
    return made


def _of_dict(value: Any) -> list[Any]:
    parts = _defaultdict(value) if type(value) is collections.defaultdict else _pairs(value)
    return [] if parts is None else [*parts[-2], *parts[-1]]


for _path in (pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path())):
    know(_path, lambda value: [str(value)], _path)
know(range, lambda value: [value.start, value.stop, value.step], range)
know(slice, lambda value: [value.start, value.stop, value.step], slice, children=lambda value: (value.start, value.stop, value.step))
know(type(...), lambda value: [], lambda: ..., "ellipsis")
know(datetime.date, lambda value: [value.year, value.month, value.day], datetime.date)
know(datetime.time, _no_fold, _make_time)
know(datetime.datetime, _datetime, _make_datetime)
know(datetime.timedelta, lambda value: [value.days, value.seconds, value.microseconds], datetime.timedelta)
know(datetime.timezone, _timezone, _make_timezone)
know(array.array, lambda value: [value.typecode, value.tobytes()], lambda code, data: array.array(code, data))
know(memoryview, _view, _make_view)
know(io.BytesIO, _file_in_memory, _make_file_in_memory, children=lambda value: (vars(value),))
know(collections.OrderedDict, _pairs, lambda keys, values: collections.OrderedDict(zip(keys, values, strict=True)), children=_of_dict)
know(collections.Counter, _pairs, _counter, children=_of_dict)
know(collections.defaultdict, _defaultdict, _make_defaultdict, children=_of_dict)
know(collections.deque, lambda value: [list(value), value.maxlen], lambda items, most: collections.deque(items, most), children=iter)
know(
    types.SimpleNamespace, lambda value: [vars(value)], lambda names: types.SimpleNamespace(**names), children=lambda value: (vars(value),)
)

#: Kinds of modules that few values need: known from the first value on.
_LATE: dict[str, tuple[str, str, Split]] = {
    "Decimal": ("decimal", "Decimal", lambda value: [str(value)]),
    "Fraction": ("fractions", "Fraction", lambda value: [value.numerator, value.denominator]),
    "ZoneInfo": ("zoneinfo", "ZoneInfo", lambda value: None if value.key is None else [value.key]),
    "UUID": ("uuid", "UUID", lambda value: [value.hex]),
}


def kind_of(kind: type) -> Kind | None:
    """What is known of a class."""
    found = KINDS.get(kind)
    late = _LATE.get(kind.__name__) if found is None else None
    if late is not None and getattr(sys.modules.get(late[0]), late[1], None) is kind:
        know(kind, late[2], kind)
        found = KINDS[kind]
    return found


def maker_of(name: str) -> Callable[..., Any] | None:
    """What makes a value of that kind."""
    found = MAKERS.get(name)
    late = _LATE.get(name) if found is None else None
    if late is not None:
        kind = getattr(importlib.import_module(late[0]), late[1])
        know(kind, late[2], kind)
        found = MAKERS[name]
    return found
