"""A value crosses as exactly what it is, or not at all. What `test_value_properties.py` finds by chance is here by name."""

import collections
import decimal
import enum
import fractions
import io
import json
import subprocess
import sys
import types

import numpy
import pytest
import torch
from PIL import Image

from python_shim.tests import value_arrays
from python_shim.tests import value_classes as kinds
from python_shim.tests import value_strategies as values
from python_shim.tests.value_equality import Handle, difference
from python_shim.wire.comfy_values import ExecutionBlocker, for_browser
from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import CodedError, NotPortable, memory_error
from python_shim.wire.files import FileList
from python_shim.wire.frames import to_json
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool
from python_shim.worker.returned import as_read


@pytest.fixture
def cross():
    pool, mapped, kept = SegmentPool(), MappedSegments(), []

    def handle(value, path):
        kept.append(value)
        return {"$": "handle", "id": str(len(kept) - 1)}

    def send(value, objects=True):
        encoder = Encoder(pool, handle if objects else lambda value, path: None)
        form = json.loads(to_json(encoder.encode(value, "the value")))
        return Decoder(mapped, lambda tag: Handle(kept[int(tag["id"])])).decode(form)

    yield send
    pool.close()


class Mode(str, enum.Enum):
    A = "a mode"


STAYS = {
    "a str enum": lambda: Mode.A,
    "a subclass of dict": lambda: kinds.Dict(a=1),
    "a subclass of list": lambda: kinds.List([1]),
    "a subclass of OrderedDict": lambda: kinds.Ordered(a=1),
    "a tensor subclass": lambda: torch.ones(2).as_subclass(kinds.Sub),
    "a wrapper subclass": lambda: kinds.Wrapper(torch.ones(3)),
    "a zero tensor": lambda: torch._efficientzerotensor((3,)),
    "a meta tensor": lambda: torch.ones(2, device="meta"),
    "a sparse tensor": lambda: torch.eye(2).to_sparse(),
    "a tensor without its memory": values._emptied,
    "a tensor beyond its memory": values._shrunk,
    "an array subclass": lambda: numpy.ones(2).view(kinds.Array),
    "a dtype with metadata": values._noted,
    "a named tuple with methods": lambda: kinds.Busy(1),
    "a default of a pack's own": lambda: collections.defaultdict(lambda: 1),
    "a class without a hash": kinds.Unhashable,
    "an object that answers to anything": kinds.Loose,
    "something called ExecutionBlocker": lambda: type("ExecutionBlocker", (), {"message": "x"})(),
    "something called DynamicPrompt": lambda: type("DynamicPrompt", (), {"get_original_prompt": 1})(),
    "something like a NodeOutput": lambda: type("X", (), {"block_execution": 1, "expand": None, "args": (), "ui": None})(),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_is_more_than_data_stays_or_is_refused_with_its_place(cross, name):
    value = STAYS[name]()
    got = cross({"deep": [value, value]})["deep"]
    assert type(got[0]) is Handle and got[0].of is value and got[1] is got[0]
    with pytest.raises(NotPortable) as caught:
        cross({"deep": [1, value]}, objects=False)
    assert str(caught.value).startswith("the value['deep'][1] is a ") and caught.value.hint


def picture(mode, **info):
    made = Image.new(mode, (2, 2))
    made.info.update(info)
    return made


WHOLE = {
    "masked array": lambda: numpy.ma.MaskedArray([1.0, 2.0, 3.0], [0, 1, 0], hard_mask=True, fill_value=9),
    "matrix": lambda: numpy.ones((2, 2)).view(numpy.matrix),
    "recarray": lambda: numpy.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "overlapping fields": lambda: numpy.zeros(2, value_arrays.STRUCTS[5]),
    "empty numpy text": lambda: numpy.str_(""),
    "16 bits": lambda: Image.fromarray(numpy.array([[0, 1000], [30000, 65535]], numpy.uint16)),
    "PA": lambda: picture("PA"),
    "RGBa": lambda: picture("RGBa"),
    "info": lambda: picture("RGB", parameters="a prompt"),
    "empty picture": lambda: Image.new("RGB", (0, 3)),
    "two halves of a character": lambda: ["\ud83d\ude00", {"\ud83d\ude00": "a"}, ["\ud83d\ude00"], "\U0001f600"],
    "big int": lambda: 10**5000,
    "a tensor's attributes": lambda: (value_arrays.tensors and setattr(t := torch.ones(2), "note", [1])) or t,
    "torch.max": lambda: torch.max(torch.ones(2, 3), dim=0),
    "Counter": lambda: collections.Counter({"a": -1}),
    "deque": lambda: collections.deque([1], 3),
    "Decimal": lambda: decimal.Decimal("-sNaN12"),
    "ints beyond 64 bits": lambda: [2**64] * 300,
    "NaN with bits": lambda: [numpy.frombuffer(b"\1\0\0\0\0\0\xf8\xff", "f8").item()] * 2,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_data_crosses_whole(cross, name):
    value = WHOLE[name]()
    got = cross([value], objects=False)
    assert difference([value], got) is None


def test_the_same_object_twice_is_one_object(cross):
    part, text = {"a": [1]}, bytearray(b"x")
    value = [part, part["a"], {"again": part}, text, text, [1], [1]]
    got = cross(value)
    assert got == value and got[0] is got[2]["again"] and got[1] is got[0]["a"] and got[3] is got[4] and got[5] is not got[6]


def test_the_classes_of_named_tuples_are_made_once(cross):
    made = cross([kinds.Point(i, 0) for i in range(10)])
    assert {type(one) for one in made} == {kinds.Point}
    foreign = collections.namedtuple("Foreign", "a b")
    first, second = cross([foreign(1, 2), foreign(3, 4)])
    assert type(first) is type(second) and first._fields == ("a", "b") and type(first).__name__ == "Foreign"


def test_a_file_list_of_ours_crosses_as_a_list(cross):
    got = cross([FileList.of("vae", ["a", "b"])])
    assert got == [["a", "b"]] and type(got[0]) is list


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("theirs", [True, False])
def test_a_tensor_of_inference_mode_is_one_there(cross, ours, theirs):
    with torch.inference_mode(ours):
        value = [torch.ones(3), torch.ones(0), torch.ones(2, 3, 2, 2).contiguous(memory_format=torch.channels_last), torch.ones(4)[1:]]
    with torch.inference_mode(theirs):
        got = cross(value)
    assert [tensor.is_inference() for tensor in got] == [ours] * 4


def test_the_stand_in_of_a_blocker_crosses(cross):
    got = cross((ExecutionBlocker("why"),))
    assert type(got[0]) is ExecutionBlocker and got[0].message == "why"


def test_what_goes_to_the_browser_is_as_json_has_it(cross):
    assert for_browser({"a": [Mode.A, kinds.Dict(b=(kinds.Whole(3),))]}) == {"a": ["a mode", {"b": (3,)}]}
    form = as_read(kinds.Dict(ui={"images": [kinds.Dict(type=Mode.A)]}, result=(1,)), None)
    assert form == {"ui": {"images": [{"type": "a mode"}]}, "result": (1,)} and type(form["ui"]["images"][0]["type"]) is str


def test_a_failed_encode_drops_the_handles_that_it_made():
    pool, dropped = SegmentPool(), []
    names = iter("abc")
    encoder = Encoder(pool, lambda value, path: {"$": "handle", "id": next(names)}, drop=dropped.extend)
    with pytest.raises(NotPortable):
        encoder.encode([torch.ones(10), object(), object(), (one for one in ())], "x")
    assert dropped == ["a", "b"] and pool.usage()[0] == 0 and encoder.leases == [] and encoder.handles == []


@pytest.mark.parametrize(
    ("code", "expected"), [(2, "SEGMENT_GONE"), (3, "SEGMENT_GONE"), (12, "MEMORY_FULL"), (24, "MEMORY_FULL"), (13, "INTERNAL")]
)
def test_memory_that_cannot_be_read_says_why(code, expected):
    error = memory_error(OSError(code, "the system's words"), "an input of X")
    assert error.code == expected and "an input of X" in str(error) and "the system's words" in str(error) and error.hint
    assert ("has gone" in str(error)) == (expected == "SEGMENT_GONE")


def test_a_dtype_that_this_torch_has_not_is_a_clear_error():
    tag = {"$": "tensor", "dtype": "float3", "shape": [0], "channels_last": False, "inference": False, "device": None, "segment": None}
    with pytest.raises(CodedError, match="no float3") as caught:
        Decoder(MappedSegments(), lambda tag: None).decode(tag)
    assert caught.value.code == "VALUE_NOT_PORTABLE"


def test_many_numbers_and_tensors_cost_little(cross):
    """Counted in messages' sizes and calls, not in seconds: those are the machine's."""
    pool = SegmentPool()
    assert len(to_json(Encoder(pool).encode(list(range(1_000_000)), "x"))) < 1000
    tensors = [torch.full((16,), float(i)) for i in range(2000)]
    there = MappedSegments()
    sent = Encoder(pool)
    decoder = Decoder(there, lambda tag: None)
    got = decoder.decode(sent.encode(tensors, "x"))
    looked = Looked(decoder.seen)
    Encoder(pool, mapped=there, inputs=looked).encode(got, "x")
    assert looked.count <= 2 * len(tensors)
    pool.close()


class Looked(list):
    count = 0

    def __getitem__(self, index):
        self.count += 1
        return super().__getitem__(index)


def test_a_worker_loads_little_for_values():
    code = "import sys; import python_shim.wire.encoder; print([m for m in ('decimal', 'fractions', 'uuid', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class VideoFromComponents:
    def __init__(self, components, bit_depth):
        self.__components, self.__bit_depth = components, bit_depth

    def all(self):
        return vars(self.__components), self.__bit_depth


class VideoComponents:
    def __init__(self, **parts):
        vars(self).update(parts)


class VideoFromFile:
    def __init__(self, file, start):
        self.__file, self.__start_time = file, start

    def all(self):
        return self.__file.getvalue(), self.__start_time


@pytest.fixture
def comfy(monkeypatch):
    """ComfyUI's modules, as far as values ask for them."""
    for name, own in {
        "comfy_api.latest._input_impl.video_types": (VideoFromComponents, VideoFromFile),
        "comfy_api.latest._util.video_types": (VideoComponents,),
    }.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**{kind.__name__: kind for kind in own}))


def test_a_video_keeps_bit_depth_alpha_and_metadata(cross, comfy):
    parts = {"images": torch.ones(1), "frame_rate": fractions.Fraction(30000, 1001), "alpha": torch.zeros(1), "metadata": {"a": 1}}
    got = cross([VideoFromComponents(VideoComponents(**parts), 10)], objects=False)[0]
    assert type(got) is VideoFromComponents and got.all()[1] == 10 and difference(parts, got.all()[0]) is None
    file = cross([VideoFromFile(io.BytesIO(b"film"), 2.5)], objects=False)[0]
    assert type(file) is VideoFromFile and file.all() == (b"film", 2.5)


def test_a_video_with_more_to_it_stays(cross, comfy):
    video = VideoFromFile(io.BytesIO(b"film"), 0)
    video.more = 1
    assert type(cross([video])[0]) is Handle
    assert type(cross([type("VideoFromFile", (VideoFromFile,), {})(io.BytesIO(b"film"), 0)])[0]) is Handle


def test_without_comfyui_a_video_is_a_clear_error(cross, comfy, monkeypatch):
    form = Encoder(SegmentPool()).encode(VideoFromFile("a.mp4", 0), "x")
    monkeypatch.delitem(sys.modules, "comfy_api.latest._input_impl.video_types")
    with pytest.raises(CodedError, match="cannot make ComfyUI's VIDEO"):
        Decoder(MappedSegments(), lambda tag: None).decode(form)


def test_an_array_that_must_not_be_written_into_is_so_there(cross):
    fixed = numpy.frombuffer(b"12345678", dtype="u1")
    own = numpy.ones(3)
    own.flags.writeable = False
    masked = numpy.ma.MaskedArray(own, [True, False, False])
    given = [fixed, own, own[1:], numpy.broadcast_to(own, (2, 3)), numpy.ones(0), numpy.ones(2), own.view(numpy.recarray), masked]
    assert [array.flags.writeable for array in cross(given)] == [array.flags.writeable for array in given]
    with pytest.raises(ValueError, match="read-only"):
        cross(given)[1][0] = 2


@pytest.mark.parametrize("deep", [False, True])
def test_a_view_of_a_mapping_stays_or_is_refused(cross, deep):
    value = types.MappingProxyType({"a": 1})
    got = cross([value] if deep else value)
    assert (got[0] if deep else got).of is value
    with pytest.raises(NotPortable, match="mappingproxy"):
        cross([value] if deep else value, objects=False)
