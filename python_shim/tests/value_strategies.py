"""Values for `test_value_properties.py`: leaves of every kind, and structures of them with shared and recursive parts."""

import array
import collections
import datetime
import decimal
import io
import math
import pathlib
import struct
import types
import zoneinfo

import numpy
import torch
from hypothesis import strategies as st

from python_shim.tests.value_arrays import STRUCTS, numpy_arrays, pictures, tensors
from python_shim.tests.value_classes import (
    BadRepr,
    Bits,
    Busy,
    Bytes,
    Data,
    Dict,
    List,
    Loose,
    Mode,
    MyFloat,
    Number,
    Ordered,
    Plain,
    Point,
    Real,
    Set,
    Sub,
    Text,
    Tuple,
    Typed,
    Whole,
    Wrapper,
)

ZONES = [None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=-3), "X"), zoneinfo.ZoneInfo("UTC")]
big = st.integers(-(10**30), 10**30)
floats = st.one_of(st.floats(), st.binary(min_size=8, max_size=8).map(lambda raw: struct.unpack("d", raw)[0]))
ODD_TEXTS = ["é" * 70_000, "\ud800\udc00" * 40_000]
texts = st.one_of(st.text(st.characters(exclude_categories=()), max_size=20), st.integers(0, 1).map(lambda n: ODD_TEXTS[n]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    big,
    st.builds(pow, st.just(10), st.just(5000)),
    floats,
    texts,
    st.sampled_from(["$", "v", "", "\ud83d\ude00", "é", -0.0, 2**53, 2**63]),
)
numbers = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=2).map(lambda some: some * 200),
    st.lists(st.integers(-(2**64), 2**64), max_size=2).map(lambda some: some * 200),
    st.lists(floats, max_size=2).map(lambda some: some * 5000),
    st.lists(st.booleans(), max_size=3).map(lambda some: some * 100),
    st.lists(scalars, max_size=3).map(lambda some: some * 50),
)
VIEWS = [
    lambda: memoryview(b"abc"),
    lambda: memoryview(bytearray(b"abcd")).cast("B", (2, 2)),
    lambda: memoryview(b"12345678").cast("d"),
]


def _file_in_memory(data, position, name):
    made = io.BytesIO(data)
    made.seek(position)
    if name is not None:
        made.name = name
    return made


standard = st.one_of(
    st.binary(max_size=20),
    st.integers(30_000, 30_001).map(lambda n: b"big" * n),
    st.builds(complex, floats, floats),
    st.sampled_from([0, 2, 70_000]).map(lambda n: bytearray(b"x" * n)),
    st.builds(_file_in_memory, st.binary(max_size=20), st.integers(0, 30), st.none() | st.text(max_size=3)),
    st.builds(range, st.integers(-3, 3), big, st.sampled_from([1, -2])),
    st.builds(slice, st.integers(0, 3), st.none(), st.integers(1, 2)),
    st.just(...),
    st.dates(),
    st.builds(lambda when, zone, fold: when.replace(tzinfo=zone, fold=fold), st.datetimes(), st.sampled_from(ZONES), st.integers(0, 1)),
    st.builds(lambda when, zone: when.replace(tzinfo=zone), st.times(), st.sampled_from(ZONES)),
    st.timedeltas(),
    st.sampled_from(ZONES),
    st.decimals(),
    st.just(decimal.Decimal("-sNaN12")),
    st.fractions(),
    st.uuids(),
    st.sampled_from([pathlib.Path("a/b"), pathlib.PurePosixPath("/x"), pathlib.PureWindowsPath("C:\\a")]),
    st.sampled_from(["b", "H", "i", "Q", "f", "d"]).map(lambda code: array.array(code, [1, 2, 3])),
    st.sampled_from(VIEWS).map(lambda make: make()),
    st.sampled_from([torch.Size([2, 3]), torch.Size([]), torch.float32, torch.device("cpu"), torch.strided, torch.channels_last]),
    st.sampled_from([numpy.dtype("f4"), numpy.dtype(">i8"), numpy.dtype("U3"), *STRUCTS]),
    st.builds(lambda: torch.max(torch.ones(2, 3), dim=0)),
    st.just(()),
    st.just(frozenset()),
)


def _emptied():
    made = torch.ones(100)
    made.untyped_storage().resize_(0)
    return made


def _shrunk():
    made = torch.ones(100)[50:]
    made.untyped_storage().resize_(16)
    return made


def _noted():
    return numpy.zeros(2, numpy.dtype("f4", metadata={"a": 1}))


ODD = [
    lambda: Text("text of a class"),
    lambda: Whole(7654321),
    lambda: Real(1.515625e-9),
    lambda: Bytes(b"bytes of a class"),
    lambda: List([1]),
    lambda: Dict(a=1),
    lambda: Tuple((1,)),
    lambda: Set({1}),
    lambda: Ordered(a=1),
    lambda: Mode.A,
    lambda: Number.ONE,
    lambda: Plain.A,
    lambda: Bits.ONE | Bits.TWO,
    lambda: Data([1]),
    Loose,
    BadRepr,
    lambda: Busy(1),
    object,
    lambda: Text,
    lambda: len,
    lambda: lambda: 1,
    lambda: (x for x in ()),
    lambda: math,
    lambda: torch.ones(2).as_subclass(Sub),
    lambda: Wrapper(torch.ones(3)),
    lambda: torch._efficientzerotensor((3,)),
    lambda: torch.ones(2, device="meta"),
    lambda: torch.eye(2).to_sparse(),
    lambda: torch.eye(2).to_sparse_csr(),
    lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    _emptied,
    _shrunk,
    lambda: torch.nn.Linear(1, 1),
    lambda: torch.Generator(),
    lambda: numpy.array([object()]),
    lambda: numpy.array(["a"], dtype=numpy.dtypes.StringDType()),
    lambda: MyFloat(1.25e-11),
    _noted,
    lambda: numpy.ma.masked,
    lambda: numpy.random.default_rng(1),
    lambda: collections.defaultdict(lambda: 1, a=1),
    lambda: collections.ChainMap({}),
    lambda: types.MappingProxyType({"a": 1}),
    lambda: memoryview(b"abcdef")[::2],
    lambda: __import__("io").StringIO("a"),
    lambda: __import__("re").compile("a"),
    lambda: __import__("time").gmtime(0),
    lambda: datetime.datetime(2020, 1, 1, tzinfo=type("Zone", (datetime.tzinfo,), {"utcoffset": lambda s, d: None})()),
]
odd = st.sampled_from(ODD).map(lambda make: make())
plain_leaves = st.one_of(scalars, numbers, standard, tensors(), numpy_arrays(own=False), pictures())
leaves = st.one_of(plain_leaves, numpy_arrays())
KINDS = "list tuple dict set frozenset ordered counter default deque names point typed slice".split()


def _hashable(value):
    try:
        hash(value)
    except Exception:  # noqa: BLE001
        return False
    return not isinstance(value, (torch.Tensor, io.BytesIO))


def one_of(values):
    """Like `sampled_from`, which wants a hash."""
    return st.integers(0, len(values) - 1).map(lambda index: values[index])


def _build(draw, kind, parts):
    keys = [part for part in parts if _hashable(part)]
    if kind in ("set", "frozenset"):
        return (set if kind == "set" else frozenset)(keys)
    if kind in ("dict", "ordered", "default"):
        names = [draw(st.one_of(st.text(max_size=3), st.just("\ud800\udc00"), one_of(keys) if keys else st.just("k"))) for _ in parts]
        made = {"dict": dict, "ordered": collections.OrderedDict, "default": lambda: collections.defaultdict(list)}[kind]()
        made.update(zip(names, parts, strict=True))
        return made
    if kind == "counter":
        return collections.Counter({"a": 1, "b": parts[0] if parts else 0})
    if kind == "deque":
        return collections.deque(parts, draw(st.sampled_from([None, 5])))
    if kind == "names":
        return types.SimpleNamespace(a=parts)
    if kind in ("point", "typed", "slice"):
        return {"point": Point, "typed": Typed, "slice": slice}[kind](*(parts * 2 + [None, None])[:2])
    return parts if kind == "list" else tuple(parts)


@st.composite
def structures(draw, leaf, loops):
    made = draw(st.lists(leaf, min_size=1, max_size=4))
    for _ in range(draw(st.integers(0, 6))):
        parts = draw(st.lists(st.one_of(one_of(made), leaf), max_size=4))
        many = draw(st.sampled_from([1, 1, 1, 40]))
        made.append(_build(draw, draw(st.sampled_from(KINDS)), parts * many))
    if loops and draw(st.integers(0, 9)) == 0:
        lists = [one for one in made if type(one) is list]
        if lists:
            lists[0].append(draw(one_of(made)))
    return made[-1] if draw(st.booleans()) else made


def data():
    """What always crosses."""
    return structures(plain_leaves, False)


def anything():
    """With what does not."""
    return structures(st.one_of(leaves, odd), True)
