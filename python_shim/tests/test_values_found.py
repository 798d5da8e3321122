"""What a review of the values found: one test for each."""

import collections
import gc
import io
import json
import types

import numpy
import pytest
import torch
from PIL import Image

from python_shim.tests import value_classes as kinds
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import NotPortable
from python_shim.wire.frames import to_json
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.parts import children, crosses
from python_shim.wire.segments import SegmentPool


@pytest.fixture
def call():
    """Sends a value to a worker, and what the worker's `run` makes of it back. Gives what came back, and how many bytes were copied."""
    pools, mapped = [SegmentPool(), SegmentPool()], [MappedSegments(), MappedSegments()]

    def send(value, run=lambda value: value):
        there = Encoder(pools[0], mapped=mapped[0])
        given = Decoder(mapped[1], lambda tag: tag)
        inside = given.decode(json.loads(to_json(there.encode(value, "the value"))))
        back = Encoder(pools[1], mapped=mapped[1], inputs=given.seen)
        form = json.loads(to_json(back.encode(run(inside), "the result")))
        return Decoder(mapped[0], lambda tag: tag, there.kept).decode(form), pools[1].usage()[0]

    yield send
    gc.collect()
    for pool in pools:
        pool.close()


def noted():
    made = torch.zeros(5000)
    made.tag = "A"
    return made


def without_tag(tensor):
    del tensor.tag
    return tensor


def reshaped(array):
    array.shape = (50, 100)
    return array


def other_memory(pair):
    pair[0].data = pair[1]
    return pair[0]


def test_only_the_very_input_as_it_came_comes_back_as_itself(call):
    sent = torch.rand(5000)
    got, copied = call(sent, lambda a: [a, a.view(-1), a.detach(), a])
    assert got[0] is sent and got[3] is sent and len({id(one) for one in got}) == 3 and copied == 0
    assert all(torch.equal(one, sent) for one in got)
    sent = noted()
    assert not hasattr(call(sent, without_tag)[0], "tag") and sent.tag == "A"
    got, copied = call(sent)
    assert got is not sent and got.tag == "A" and copied == 0
    assert not hasattr(call(sent, torch.Tensor.detach)[0], "tag")
    assert call(torch.rand(50, 100), lambda a: a.unsqueeze_(0))[0].shape == (1, 50, 100)
    assert call(numpy.arange(5000), reshaped)[0].shape == (50, 100)
    assert call([torch.zeros(5000), torch.ones(5000)], other_memory)[0].sum() == 5000


@pytest.mark.parametrize("text", [numpy.bytes_(b"a\0"), numpy.str_("a\0\0"), numpy.bytes_(b"\0"), numpy.str_("\ud800\0")])
def test_text_of_numpy_keeps_its_last_nuls(call, text):
    got = call([text, {"again": text}])[0]
    assert type(got[0]) is type(text) and len(got[0]) == len(text) and got[0] == text and got[1]["again"] is got[0]


def test_fields_of_text_keep_their_bytes(call):
    array = numpy.array([(b"a\0", "b\0"), (b"\0c", "")], [("s", "S4"), ("u", "U3")])
    assert call(array)[0].tobytes() == array.tobytes() and call(array[0])[0].tobytes() == array[0].tobytes()


class Outer:
    Point = collections.namedtuple("Point", "x y", module=__name__)
    Point.__qualname__ = "Outer.Point"
    Alone = collections.namedtuple("Alone", "x", module=__name__)
    Alone.__qualname__ = "Gone.Alone"


Point = collections.namedtuple("Point", "x y", module=__name__)
Alone = collections.namedtuple("Alone", "x", module=__name__)


def test_a_nested_named_tuple_is_no_other_of_its_name(call):
    got = call([Outer.Point(1, 2), Point(1, 2), Outer.Alone(1), Alone(1), Outer.Alone(2)])[0]
    assert [type(one) for one in got[:2]] == [Outer.Point, Point] and type(got[3]) is Alone
    assert type(got[2]) is type(got[4]) is not Alone
    assert (type(got[2]).__name__, type(got[2]).__qualname__) == ("Alone", "Gone.Alone")


def test_what_a_tensor_holds_is_one_object_with_what_stands_elsewhere(call):
    tensor, part = torch.ones(2), [1]
    tensor.part = part
    got = call([tensor, part, {"info": part}])[0]
    assert got[0].part == [1] and got[0].part is got[1] is got[2]["info"]
    tensor.itself = tensor
    got = call(tensor)[0]
    assert got.itself is got and got.part == [1]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_that_was_saved_crosses(call, form):
    picture, part = Image.new("RGB", (2, 2), (1, 2, 3)), [1]
    picture.save(io.BytesIO(), form)
    picture.info["part"] = part
    got = call([picture, part])[0]
    assert type(got[0]) is Image.Image and got[0].tobytes() == picture.tobytes() and got[0].info["part"] is got[1]


def released():
    view = memoryview(b"x")
    view.release()
    return view


def test_what_a_library_says_while_a_value_is_read_has_its_place(call, monkeypatch):
    with pytest.raises(NotPortable, match=r"^the value\['a'\]\[1\] is a builtins.memoryview, which cannot be read \(ValueError") as caught:
        call({"a": [1, released()]})
    assert caught.value.hint and isinstance(caught.value.__cause__, ValueError)
    for raised, seen in ((BufferError, NotPortable), (RuntimeError, NotPortable), (MemoryError, MemoryError)):
        monkeypatch.setattr(Encoder, "array", lambda *_, raised=raised: (_ for _ in ()).throw(raised("no")))
        with pytest.raises(seen):
            call([numpy.ones(2)])


class Hostile(type):
    __hash__ = None

    def __getattribute__(cls, name):
        raise RuntimeError(name)


class Odd(metaclass=Hostile):
    pass


def test_what_a_value_holds(call):
    key, part, odd = (1,), [1], Odd()
    tensor, picture = torch.ones(1), Image.new("L", (1, 1))
    tensor.part = picture.info["part"] = part
    ordered = collections.OrderedDict([(key, part)])
    nested = [[part], (part,), {"a": part}, ordered, collections.deque([part]), slice(part), types.SimpleNamespace(a=part)]
    for value in (*nested, tensor, kinds.Point(part, 1), collections.defaultdict(list, a=part), torch.max(torch.ones(1, 1), 0)):
        held = list(children(value))
        assert any(one is part for one in held) or isinstance(held[0], torch.Tensor)
    assert key in list(children({key: 1})) and key in list(children(ordered)) and list(children({key})) == [key]
    assert [part] in [list(one.values()) for one in children(picture)]
    none = (odd, 1, "ab", b"", numpy.ones(2), kinds.Dict(a=1), kinds.List([1]), collections.defaultdict(lambda: 1, a=1), type, Odd)
    assert [list(children(one)) for one in none] == [[]] * len(none) and next(iter(children([odd]))) is odd


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_what_crosses_by_value():
    whole = [1, "a", None, b"", [], {}, (1,), {1}, torch.ones(1), torch.Size([1]), numpy.ones(1), numpy.float32(1), kinds.Point(1, 2)]
    assert all(
        map(
            crosses, (*whole, torch.float32, io.BytesIO(), Image.new("L", (1, 1)), collections.Counter(), types.SimpleNamespace(), slice(1))
        )
    )
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
        stays = [file, Odd(), Odd, kinds.Unhashable(), kinds.Dict(), kinds.Mode.A, object(), torch.nn.Linear(1, 1), torch.Generator()]
        stays += [torch.eye(2).to_sparse(), torch.ones(1, device="meta"), torch.quantize_per_tensor(torch.ones(1), 1, 0, torch.qint8)]
        stays += [numpy.random.default_rng(), numpy.array([object()]), lambda: 1, type, io.StringIO()]
        assert [one for one in stays if crosses(one)] == []
