"""numpy's values: which dtypes are plain bytes, how they are described, and its own classes of arrays."""

from __future__ import annotations

import functools
import sys
from typing import Any


def array_kind(kind: type) -> str | None:
    """`array`, `matrix`, `recarray`, `masked` or `scalar` for numpy's own classes; None for any other."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "generic"):
        return None
    if kind is numpy.ndarray:
        return "array"
    if kind is numpy.recarray:
        return "recarray"
    if kind is numpy.ma.MaskedArray:
        return "masked"
    if kind is numpy.matrix:
        return "matrix"
    return "scalar" if issubclass(kind, numpy.generic) and _is_own(numpy, kind) else None


def _is_own(numpy: Any, kind: type) -> bool:
    return getattr(numpy, kind.__name__, None) is kind or kind is numpy.record


def description_of(dtype: Any) -> Any:
    """A dtype as JSON; None for one that does not come back the same: objects, text of any length, types that others have added."""
    try:
        return _description_of(dtype, tuple(_facts(dtype)))
    except (TypeError, ValueError):
        return None


def _facts(dtype: Any) -> Any:
    """What equality of dtypes does not look at."""
    yield dtype.isalignedstruct
    yield dtype.type
    yield _metadata(dtype)
    for name in dtype.names or ():
        yield from _facts(dtype.fields[name][0])
        yield dtype.fields[name][2:]
    if dtype.subdtype is not None:
        yield from _facts(dtype.subdtype[0])


def _metadata(dtype: Any) -> bool:
    return dtype.metadata is not None


@functools.lru_cache(maxsize=1024)
def _description_of(dtype: Any, facts: tuple[Any, ...]) -> Any:
    if dtype.hasobject or (True in facts and any(_holds_metadata(dtype))):
        return None
    described = _describe(dtype)
    try:
        back = dtype_of(described)
    except (TypeError, ValueError):
        return None
    same = back == dtype and tuple(_facts(back)) == facts and back.itemsize == dtype.itemsize
    return described if same else None


def _holds_metadata(dtype: Any) -> Any:
    yield _metadata(dtype)
    for name in dtype.names or ():
        yield from _holds_metadata(dtype.fields[name][0])
    if dtype.subdtype is not None:
        yield from _holds_metadata(dtype.subdtype[0])


def _describe(dtype: Any) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": _describe(base), "shape": list(shape)}
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_describe(field[0]) for field in fields],
        "offsets": [int(field[1]) for field in fields],
        "titles": [field[2] if len(field) > 2 else None for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
        "record": dtype.type is sys.modules["numpy"].record,
    }


def dtype_of(described: Any) -> Any:
    """The dtype that was described."""
    import numpy

    if isinstance(described, str):
        return numpy.dtype(described)
    if "base" in described:
        return numpy.dtype((dtype_of(described["base"]), tuple(described["shape"])))
    fields: Any = {
        "names": described["names"],
        "formats": [dtype_of(each) for each in described["formats"]],
        "offsets": described["offsets"],
        "itemsize": described["itemsize"],
    }
    if any(title is not None for title in described["titles"]):
        fields["titles"] = described["titles"]
    made = numpy.dtype(fields, align=described["aligned"])
    return numpy.dtype((numpy.record, made)) if described["record"] else made


def address_of(array: Any) -> int:
    """Where its first byte lies."""
    return array.__array_interface__["data"][0]


def masked_parts(array: Any) -> list[Any] | None:
    """Data, mask, fill value, whether the mask is hard; None for a masked array with more to it."""
    import numpy

    own = vars(array)
    if own.get("_optinfo") or own.get("_baseclass") is not numpy.ndarray or own.get("_basedict"):
        return None
    mask = None if array.mask is numpy.ma.nomask else numpy.asarray(array.mask)
    return [array.data, mask, own.get("_fill_value"), bool(array.hardmask)]


def make_masked(data: Any, mask: Any, fill: Any, hard: bool) -> Any:
    """The masked array of those parts."""
    import numpy

    made: Any = numpy.ma.MaskedArray(data, numpy.ma.nomask if mask is None else mask, hard_mask=hard)
    if fill is not None:
        made._fill_value = fill
    return made
