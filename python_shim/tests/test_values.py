"""What crosses the border to a worker: through the real encoder, JSON, the real decoder. The bridge passes the JSON on unread."""

import gc
import json
import math
import multiprocessing
import os
import pathlib
import threading

import numpy
import pytest
import torch

from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import NotPortable
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool


class Border:
    """Both sides in one process: the decoder opens the encoder's segments as another process would."""

    def __init__(self):
        self.pool, self.mapped, self._released = SegmentPool(), MappedSegments(), []

    @property
    def released(self):
        self._released += self.mapped.let_go()
        return self._released

    def encode(self, value, **options):
        return Encoder(self.pool, **options).encode(value, "the value")

    def decode(self, text):
        return Decoder(self.mapped, lambda tag: tag["id"]).decode(json.loads(text))

    def cross(self, value, **options):
        return self.decode(json.dumps(self.encode(value, **options), allow_nan=False))


@pytest.fixture
def border():
    made = Border()
    yield made
    made.pool.close()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -7,
        2**53,
        -(2**200),
        0.1,
        1.0,
        -0.0,
        5e-324,
        math.inf,
        "",
        "text",
        "\ud800 lone",
        "emoji 🎨 and NUL \0",
        "long" * 50_000,
        b"",
        b"\x00\xff",
        b"big" * 60_000,
        bytearray(b"changeable"),
        1 + 2j,
        [],
        (),
        {},
        (1, (2, [3, {"a": (4,)}])),
        {1: "int key", (1, 2): "tuple key", None: "none key", "1": "text key"},
        {"$": "tuple", "v": [1]},
        {"__proto__x": 1, "__type__": "TensorRef"},
        {1, 2, 3},
        frozenset(["a"]),
        pathlib.Path("some/file"),
        list(range(200_000)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_plain_values_come_back_the_same(border, value):
    result = border.cross(value)
    assert result == value
    assert type(result) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, result) == math.copysign(1, value)


def test_nan(border):
    assert math.isnan(border.cross(math.nan))


DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 bool complex64 float8_e4m3fn float8_e5m2".split()


@pytest.mark.parametrize("name", DTYPES)
def test_tensors_of_every_dtype_are_bit_equal(border, name):
    tensor = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, name))
    result = border.cross(tensor)
    assert result.dtype == tensor.dtype and result.shape == tensor.shape
    assert torch.equal(result.contiguous().view(torch.uint8), tensor.view(torch.uint8))


def odd_tensors():
    base = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    batch = torch.rand(4, 8, 8, 3)
    return {
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 64, 64, 3),
        "first of a batch": batch[0:1],
        "middle of a batch": batch[1:3],
        "one image": batch[2],
        "transposed": base.transpose(1, 3),
        "expanded": torch.ones(1, 3).expand(5, 3),
        "every second": base[:, ::2],
        "flipped": torch.flip(base, [0]),
        "needs grad": torch.ones(2, requires_grad=True) * 2,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "special": torch.tensor([math.nan, math.inf, -math.inf, -0.0, 1e-40]),
        "conjugated": torch.tensor([1 + 2j]).conj(),
    }


@pytest.mark.parametrize("name", odd_tensors())
def test_odd_tensors(border, name):
    tensor = odd_tensors()[name] if "batch" not in name and name != "one image" else None
    if tensor is None:
        torch.manual_seed(1)
        tensor = odd_tensors()[name]
    result = border.cross(tensor)
    assert result.shape == tensor.shape
    assert torch.equal(torch.nan_to_num(result, 9.0), torch.nan_to_num(tensor.detach().resolve_conj(), 9.0))
    assert not result.requires_grad


def test_a_slice_sends_its_own_bytes_only(border):
    big = torch.zeros(64, 64, 64, 3)
    tag = border.encode(big[5:6])
    assert tag["segment"]["bytes"] == 64 * 64 * 3 * 4


def test_channels_last_keeps_its_format(border):
    tensor = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    result = border.cross(tensor)
    assert torch.equal(result, tensor) and result.is_contiguous(memory_format=torch.channels_last)


def test_one_tensor_twice_is_one_tensor(border):
    tensor = torch.rand(3)
    first, second = border.cross([tensor, tensor])
    assert first is second


ARRAYS = [
    numpy.arange(6).reshape(2, 3),
    numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
    numpy.arange(6)[::-1],
    numpy.zeros((0, 4)),
    numpy.array(["ab", "cde"]),
    numpy.array([b"x"]),
    numpy.array(["2026-01-02"], dtype="datetime64[D]"),
    numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    numpy.array([True, False]),
    numpy.array(7.5),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_numpy_arrays(border, array):
    result = border.cross(array)
    assert result.dtype == array.dtype and numpy.array_equal(result, array)


def test_numpy_scalars_stay_scalars(border):
    result = border.cross(numpy.float32(1.5))
    assert type(result) is numpy.float32 and result == 1.5


def cyclic():
    value = []
    value.append(value)
    return value


REFUSED = {
    "object array": lambda: numpy.array([object()]),
    "cycle": cyclic,
    "lambda": lambda: lambda: None,
    "generator": lambda: (x for x in ()),
    "lock": threading.Lock,
    "sparse": lambda: torch.eye(2).to_sparse(),
    "object": lambda: object(),
    "too deep": lambda: __import__("functools").reduce(lambda inner, _: [inner], range(500), 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_cross_is_named_with_its_place(border, name):
    with pytest.raises(NotPortable) as caught:
        border.encode({"outer": [1, REFUSED[name]()]})
    assert str(caught.value).startswith("the value['outer'][1]")
    assert caught.value.hint


def test_a_failed_encode_holds_no_memory(border):
    with pytest.raises(NotPortable):
        border.encode([torch.rand(1000, 1000), object()])
    assert border.pool.usage()[0] == 0


def test_an_object_travels_as_a_handle_where_there_is_a_table(border):
    def handle(value, path):
        return {"$": "handle", "id": "h1", "worker": "w#1", "type": "object", "made_by": "n"}

    assert border.cross([object()], handle=handle) == ["h1"]


def test_writing_into_a_received_tensor_changes_no_one_elses(border):
    tensor = torch.zeros(400_000)
    text = json.dumps(border.encode(tensor))
    first, second = border.decode(text), border.decode(text)
    first.add_(1)
    assert first.sum() == 400_000 and second.sum() == 0 and tensor.sum() == 0


def test_a_lease_ends_with_the_last_view_of_it(border):
    text = json.dumps(border.encode([torch.ones(10), torch.ones(20)]))
    first, second = border.decode(text)
    view = second[3:]
    del first, second
    gc.collect()
    assert border.released == []
    del view
    gc.collect()
    assert len(border.released) == 1


def test_a_released_segment_is_used_again(border):
    for _ in range(20):
        encoder = Encoder(border.pool)
        encoder.encode(torch.ones(1 << 20), "x")
        for lease in encoder.leases:
            border.pool.release(lease)
    leased, free = border.pool.usage()
    assert leased == 0 and free < 8 << 20


def test_a_thousand_small_tensors_use_few_segments(border):
    tag = border.encode([torch.full((4,), float(i)) for i in range(1000)])
    assert len({item["segment"]["fd"] for item in tag["s"]}) <= 2
    assert [item[0].item() for item in border.decode(json.dumps(tag))] == list(range(1000))


def _read_in_child(text, queue):
    queue.put(float(Decoder(MappedSegments(), lambda tag: None).decode(json.loads(text)).sum()))


def test_another_process_reads_it(border):
    text = json.dumps(border.encode(torch.full((300_000,), 2.0)))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(text, queue))
    child.start()
    assert queue.get(timeout=60) == 600_000
    child.join()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs /dev/shm")  # noqa: PTH112
def test_nothing_has_a_name_in_dev_shm(border):
    before = sorted(os.listdir("/dev/shm"))  # noqa: PTH208
    border.encode(torch.ones(1 << 20))
    assert sorted(os.listdir("/dev/shm")) == before  # noqa: PTH208
