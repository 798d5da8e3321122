"""Plain data classes of ComfyUI's API cross by value, and no others of it."""

import io
import sys
import types

import pytest
import torch

from python_shim.tests.value_equality import difference
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import CodedError, NotPortable
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

MODULE = "comfy_api.latest._util.planted"
CODE = """
import abc, dataclasses, io
class Mesh:
    def __init__(self, vertices, faces):
        raise AssertionError("made without it")
class Curve(abc.ABC):
    @abc.abstractmethod
    def points(self): ...
class Linear(Curve):
    def points(self): return self._points
class Svg:
    @property
    def twice(self): return self.data * 2
@dataclasses.dataclass
class Range:
    low: float
    high: float
    more: list
class Outer:
    class Inner: pass
class Reduces:
    def __reduce__(self): return (Mesh, ())
class Below(Reduces): pass
class Sets:
    def __setstate__(self, state): raise AssertionError
class Guards:
    def __setattr__(self, name, value): object.__setattr__(self, name, value)
class Ends:
    def __del__(self): pass
class Makes:
    def __new__(cls): return object.__new__(cls)
class Slots:
    __slots__ = ("one", "__dict__")
@dataclasses.dataclass(slots=True)
class SlotData:
    one: int = 1
@dataclasses.dataclass(frozen=True)
class Frozen:
    one: int = 1
class Dict(dict): pass
class Error(Exception): pass
class Bytes(io.BytesIO): pass
class Meta(type): pass
class Metaed(metaclass=Meta): pass
"""


@pytest.fixture
def planted(monkeypatch):
    module = types.ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)
    exec(compile(CODE, "planted.py", "exec"), vars(module))
    return module


def crossed(value):
    form = Encoder(SegmentPool()).encode(value, "x")
    return Decoder(MappedSegments(), lambda tag: None).decode(form)


def bag(kind, **attributes):
    made = object.__new__(kind)
    vars(made).update(attributes)
    return made


def test_an_object_of_a_plain_class_is_made_there_of_its_attributes(planted):
    part = torch.arange(12.0)
    drawing = io.BytesIO(b"<svg/>")
    drawing.seek(3)
    drawing.name = "a.svg"
    given = [
        bag(planted.Mesh, vertices=part.view(1, 4, 3), faces=None, material={"roughness": 0.5}),
        bag(planted.Linear, _points=[(0.0, 1.0)]),
        bag(planted.Svg, data=[drawing]),
        planted.Range(0.0, 1.0, [1]),
        bag(planted.Outer.Inner, deep=bag(planted.Svg, data=[])),
    ]
    got = crossed(given)
    assert [type(one) for one in got] == [type(one) for one in given]
    assert difference([vars(one) for one in given[:4]], [vars(one) for one in got[:4]]) is None
    assert type(got[4].deep) is planted.Svg and got[2].data[0].tell() == 3 and got[2].data[0].name == "a.svg"


def test_one_object_stays_one_object(planted):
    mesh = bag(planted.Mesh, vertices=torch.ones(1))
    first, second = crossed([mesh, mesh])
    assert first is second
    itself = bag(planted.Svg)
    itself.data = [itself]
    with pytest.raises(NotPortable, match="holds itself"):
        crossed(itself)


def test_what_it_holds_is_named_by_its_place(planted):
    with pytest.raises(NotPortable, match=r"faces"):
        crossed(bag(planted.Mesh, vertices=1, faces=object()))


@pytest.mark.parametrize("name", "Reduces Below Sets Guards Ends Makes Slots SlotData Frozen Dict Error Bytes Metaed".split())
def test_a_class_with_ways_of_its_own_stays(planted, name):
    with pytest.raises(NotPortable, match=name):
        crossed([vars(planted)[name]()])


def test_a_class_elsewhere_or_under_another_name_stays(planted):
    class Mesh:
        pass

    class Derived(planted.Mesh):
        pass

    Mesh.__module__, Mesh.__qualname__ = MODULE, "Mesh"
    for kind in (Mesh, Derived, type("Local", (), {"__module__": MODULE})):
        with pytest.raises(NotPortable):
            crossed([object.__new__(kind)])


def test_a_message_never_causes_an_import_and_makes_nothing_else(planted, monkeypatch):
    form = Encoder(SegmentPool()).encode(bag(planted.Mesh, vertices=1), "x")
    decode = Decoder(MappedSegments(), lambda tag: None).decode
    for name, module in (("Reduces", MODULE), ("io.BytesIO", MODULE), ("Popen", "subprocess"), ("Mesh.__init__", MODULE), ("abc", MODULE)):
        with pytest.raises(CodedError, match="cannot make"):
            decode({**form, "name": name, "module": module})
    monkeypatch.delitem(sys.modules, MODULE)
    with pytest.raises(CodedError, match="is not imported here"):
        decode(form)


def test_a_closed_file_in_memory_is_refused_with_its_place():
    closed = io.BytesIO(b"a")
    closed.close()
    with pytest.raises(NotPortable, match="cannot be read"):
        crossed([closed])
