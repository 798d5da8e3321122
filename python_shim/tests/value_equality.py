"""Whether what arrived is what was sent: exact type, content to the bit, and what is one object on either side."""

import array
import collections
import io
import struct
import types

import numpy
import torch
from PIL import Image

from python_shim.wire.named import is_named

#: Arrive detached (docs/call-cases.md, 11).
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_IDENTITY = (list, dict, set, bytearray, collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque)


class Handle:
    """Stands for an object that stayed."""

    def __init__(self, of):
        self.of = of


class Differ(Exception):
    """Says where."""


def shown(value):
    """Some of what a value says of itself."""
    try:
        return f"{value!r:.300}"
    except Exception as error:  # noqa: BLE001 - a huge number, or a repr that raises
        return f"<{type(value).__name__}: {error!r:.60}>"


def difference(sent, got):
    """None if they are the same; else where they are not."""
    try:
        _Comparison().same(sent, got, "value")
    except Differ as error:
        return str(error)
    return None


class _Comparison:
    def __init__(self):
        self.there, self.back, self._alive = {}, {}, []

    def same(self, a, b, at):
        if isinstance(b, Handle):
            if b.of is not a:
                raise Differ(f"{at}: a handle of another object")
            return
        if any(type(a) is kind for kind in _TENSORS) and type(b) is torch.Tensor:
            self.one(a, b, at)
            return self.tensors(a, b, at)
        if is_named(type(a)) and is_named(type(b)):
            if type(a).__name__ != type(b).__name__ or a._fields != b._fields:
                raise Differ(f"{at}: {type(b)} for {type(a)}")
        elif type(a) is not type(b):
            raise Differ(f"{at}: {type(b)} for {type(a)}")
        has_identity = isinstance(a, (*_IDENTITY, numpy.ndarray, Image.Image)) or (isinstance(a, tuple) and a)
        if has_identity and not self.one(a, b, at):
            return
        self.content(a, b, at)

    def one(self, a, b, at):
        """Whether this pair is met for the first time; they must always be met together."""
        known = id(a) in self.there
        if self.there.setdefault(id(a), id(b)) != id(b) or self.back.setdefault(id(b), id(a)) != id(a):
            raise Differ(f"{at}: what was one object is two, or two are one")
        self._alive += (a, b)
        return not known

    def content(self, a, b, at):
        if isinstance(a, float) and type(a) is float:
            return self.need(struct.pack("d", a) == struct.pack("d", b), a, b, at)
        if type(a) is complex:
            return self.need(struct.pack("2d", a.real, a.imag) == struct.pack("2d", b.real, b.imag), a, b, at)
        if isinstance(a, dict):
            self.need(len(a) == len(b), a, b, at)
            if isinstance(a, collections.defaultdict):
                self.need(a.default_factory is b.default_factory, a, b, at)
            for (ka, va), (kb, vb) in zip(a.items(), b.items(), strict=True):
                self.same(ka, kb, f"a key of {at}")
                self.same(va, vb, f"{at}[{shown(ka)}]")
        elif isinstance(a, (set, frozenset)):
            self.need(len(a) == len(b), a, b, at)
            stayed = [item.of for item in b if isinstance(item, Handle)]
            mine = [item for item in a if not any(item is one for one in stayed)]
            theirs = [item for item in b if not isinstance(item, Handle)]
            self.need(sorted(map(_hashed, mine)) == sorted(map(_hashed, theirs)), a, b, at)
        elif isinstance(a, (list, tuple, collections.deque)):
            self.need(len(a) == len(b) and getattr(a, "maxlen", None) == getattr(b, "maxlen", None), a, b, at)
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                self.same(x, y, f"{at}[{i}]")
        elif isinstance(a, (numpy.ndarray, numpy.generic)):
            self.arrays(a, b, at)
        elif isinstance(a, Image.Image):
            self.need((a.mode, a.size, _pixels(a)) == (b.mode, b.size, _pixels(b)), a, b, at)
            self.need(a.getpalette("RGBA") == b.getpalette("RGBA") if a.mode in ("P", "PA") else True, a, b, at)
            self.same(a.info, b.info, f"{at}.info")
        elif type(a) is types.SimpleNamespace:
            self.same(vars(a), vars(b), at)
        elif type(a) is slice:
            self.same((a.start, a.stop, a.step), (b.start, b.stop, b.step), at)
        elif type(a) is memoryview:
            self.need((a.format, a.shape, a.readonly, a.tobytes()) == (b.format, b.shape, b.readonly, b.tobytes()), a, b, at)
        elif type(a) is array.array:
            self.need((a.typecode, a.tobytes()) == (b.typecode, b.tobytes()), a, b, at)
        elif hasattr(a, "fold"):
            self.need(repr(a) == repr(b) and a.utcoffset() == b.utcoffset(), a, b, at)
        elif type(a).__name__ == "Decimal":
            self.need(a.as_tuple() == b.as_tuple(), a, b, at)
        elif type(a) is io.BytesIO:
            self.need((a.getvalue(), a.tell()) == (b.getvalue(), b.tell()), a, b, at)
            self.same(vars(a), vars(b), f"{at}'s attributes")
        elif not isinstance(a, io.IOBase):
            self.need(a == b, a, b, at)

    def tensors(self, a, b, at):
        mine, theirs = vars(a), vars(b)
        self.need(a.is_inference() == b.is_inference(), a, b, at)
        a = a.detach()
        self.need(a.dtype == b.dtype and a.shape == b.shape and a.device == b.device, a, b, at)
        if a.numel():
            flat = _whole(a)
            self.need(torch.equal(flat, _whole(b)), a, b, at)
        if mine or theirs:
            self.same(dict(mine), dict(theirs), f"{at}'s attributes")

    def arrays(self, a, b, at):
        self.need(a.dtype == b.dtype and a.dtype.type is b.dtype.type and a.dtype.isalignedstruct == b.dtype.isalignedstruct, a, b, at)
        self.need(a.shape == b.shape, a, b, at)
        self.need(isinstance(a, numpy.generic) or a.flags.writeable == b.flags.writeable, a, b, at)
        if isinstance(a, numpy.ma.MaskedArray):
            self.need((a.mask is numpy.ma.nomask) == (b.mask is numpy.ma.nomask) and a.hardmask == b.hardmask, a, b, at)
            self.need(numpy.array_equal(numpy.asarray(a.mask), numpy.asarray(b.mask)), a, b, at)
            self.need(repr(a._fill_value) == repr(b._fill_value), a, b, at)
            return self.arrays(numpy.asarray(a.data), numpy.asarray(b.data), at)
        if a.dtype.names is not None:
            plain, other = numpy.asarray(a), numpy.asarray(b)
            for name in a.dtype.names:
                self.arrays(plain[name], other[name], f"{at}.{name}")
            return
        self.need(numpy.ascontiguousarray(a).tobytes() == numpy.ascontiguousarray(b).tobytes() or _long(a, b), a, b, at)

    def need(self, right, a, b, at):
        if not right:
            raise Differ(f"{at}: {shown(b)} for {shown(a)}")


def _pixels(image):
    return image.tobytes("raw", image.mode) if image.width and image.height else b""


def _whole(tensor):
    plain = tensor.resolve_conj().resolve_neg()
    size = plain.element_size()
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(size)
    if kind is None:
        return torch.view_as_real(plain.contiguous()).view(torch.int64).contiguous()
    return plain.view(kind).contiguous()


def _long(a, b):
    """A long double has bytes that are no part of the number."""
    return a.dtype.kind in "fc" and a.dtype.itemsize >= 16 and a.dtype.char in "gG" and numpy.array_equal(a, b, equal_nan=True)


def _hashed(item):
    """A set's item as something that can be sorted and compared."""
    name = type(item).__name__
    if isinstance(item, float):
        return f"{name} {struct.pack('d', item).hex()}"
    if isinstance(item, complex):
        return f"{name} {struct.pack('2d', item.real, item.imag).hex()}"
    if isinstance(item, memoryview):
        return f"{name} {item.tobytes()!r}"
    if isinstance(item, (tuple, frozenset)):
        inner = map(_hashed, item)
        return f"{name} {list(inner) if isinstance(item, tuple) else sorted(inner)}"
    return f"{name} {item:x}" if type(item) is int else f"{name} {item!r}" if not isinstance(item, Handle) else f"handle {id(item.of)}"
