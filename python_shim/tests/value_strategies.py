"""Values for `test_value_properties.py`: leaves of every kind, and structures of them with shared and recursive parts."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import io
import math
import pathlib
import struct
import types
import typing
import zoneinfo

import numpy
import torch
from hypothesis import strategies as st
from PIL import Image

Point = collections.namedtuple("Point", "x y")


class Typed(typing.NamedTuple):
    one: object
    two: object = None


class Busy(typing.NamedTuple):
    one: object

    def more(self):
        return self.one


class Itself:
    """Equal to nothing else: Hypothesis must not take one for a choice of its own."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


class Text(Itself, str):
    pass


class Whole(Itself, int):
    pass


class Real(Itself, float):
    pass


class Bytes(Itself, bytes):
    pass


class List(list):
    pass


class Dict(dict):
    __getattr__ = dict.get


class Tuple(tuple):
    pass


class Set(set):
    pass


class Ordered(collections.OrderedDict):
    pass


class Mode(str, enum.Enum):
    A = "a mode"


class Number(enum.IntEnum):
    ONE = 1234567


class Plain(enum.Enum):
    A = (1, 2)


class Bits(enum.Flag):
    ONE = 1234567
    TWO = 1 << 33


@dataclasses.dataclass
class Data:
    one: object


class Loose:
    def __getattr__(self, name):
        return None


class Meta(type):
    __hash__ = None

    def __eq__(cls, other):
        return True


class Unhashable(metaclass=Meta):
    pass


class BadRepr:
    def __repr__(self):
        raise RuntimeError("no")


class Sub(torch.Tensor):
    pass


class Array(numpy.ndarray):
    pass


class MyFloat(numpy.float64):
    pass


class Wrapper(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return "Wrapper"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("not to be asked")


DTYPES = sorted({d for d in vars(torch).values() if isinstance(d, torch.dtype) and not str(d).startswith("torch.q")}, key=str)
NUMPY = "? i1 u1 i2 >i2 i4 u4 i8 u8 f2 f4 >f4 f8 >f8 g c8 c16 G M8[D] M8[ns] m8[s] S3 U2 >U2 V5".split()
MODES = "1 L P RGB RGBA CMYK YCbCr LAB HSV I F LA PA RGBX RGBa La I;16 I;16L I;16B".split()
STRUCTS = [
    numpy.dtype([("a", "i4"), ("b", "f8")]),
    numpy.dtype([("a", "i1"), ("b", "f8")], align=True),
    numpy.dtype([("a", "f4", (2, 2))]),
    numpy.dtype([("a", [("x", "i4"), ("y", ">i2")])]),
    numpy.dtype([(("title", "a"), "i4")]),
    numpy.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]}),
    numpy.dtype({"names": ["a"], "formats": ["u1"], "offsets": [3], "itemsize": 9}),
]


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    size = torch.empty(1, dtype=dtype).element_size()
    count = math.prod(shape)
    raw = draw(st.binary(min_size=1, max_size=64)) * (max(1, count) * size)
    raw = bytes(b & 1 for b in raw) if dtype is torch.bool else raw
    flat = torch.frombuffer(bytearray(raw[: max(1, count) * size]), dtype=dtype, count=count if count else -1)
    made = flat[:0].view(shape) if not count else flat.view(shape)
    changes = "nothing transposed expanded stepped sliced last attribute conj neg grad parameter offset inference"
    change = draw(st.sampled_from(changes.split()))
    if change == "transposed" and made.dim() > 1:
        made = made.transpose(0, -1)
    elif change == "expanded":
        made = made.unsqueeze(0).expand(3, *made.shape)
    elif change == "stepped" and made.dim():
        made = made[::2]
    elif change == "sliced" and made.dim():
        made = made[1:]
    elif change == "last" and made.dim() == 4:
        made = made.permute(0, 3, 1, 2)
    elif change == "attribute":
        made.note = draw(st.sampled_from(["kept", 1, [1]]))
    elif change == "conj" and dtype.is_complex:
        made = made.conj()
    elif change == "neg" and (dtype.is_floating_point or dtype.is_complex) and size > 1:
        made = torch._neg_view(made)
    elif change in ("grad", "parameter") and dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        made = torch.nn.Parameter(made) if change == "parameter" else made.requires_grad_()
    elif change == "offset" and count > 1:
        made = flat[1:]
    elif change == "inference":
        with torch.inference_mode():
            made = torch.frombuffer(bytearray(raw[: max(1, count) * size]), dtype=dtype)[:count].view(shape)
    return made


@st.composite
def numpy_arrays(draw, own=True):
    dtype = draw(st.one_of(st.sampled_from(NUMPY).map(numpy.dtype), st.sampled_from(STRUCTS)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    count = math.prod(shape)
    raw = draw(st.binary(min_size=1, max_size=64)) * (count * dtype.itemsize + 1)
    if dtype.kind in "U?":
        made = numpy.array([draw(st.text("aé😀", max_size=2)) for _ in range(count)]).astype(dtype).reshape(shape)
    else:
        made = numpy.frombuffer(raw[: count * dtype.itemsize], dtype=dtype).reshape(shape).copy()
    change = draw(st.sampled_from("nothing transposed reversed fortran matrix recarray masked subclass scalar expanded readonly".split()))
    if change == "transposed":
        return made.T
    if change == "reversed" and made.ndim:
        return made[::-1]
    if change == "fortran":
        return numpy.asfortranarray(made)
    if change == "matrix" and made.ndim <= 2 and dtype.names is None:
        return numpy.matrix(made)
    if change == "recarray":
        return made.view(numpy.recarray)
    if change == "masked" and dtype.kind in "iuf":
        mask = draw(st.sampled_from([numpy.ma.nomask, True, False]))
        return numpy.ma.MaskedArray(made, mask, fill_value=draw(st.sampled_from([None, 7])), hard_mask=draw(st.booleans()))
    if change == "subclass" and own:
        return made.view(Array)
    if change == "expanded" and made.ndim:
        return numpy.broadcast_to(made, (2, *shape))
    if change == "scalar" and count:
        return made.reshape(-1)[0]
    if change == "readonly":
        made.flags.writeable = False
    return made


@st.composite
def pictures(draw):
    mode = draw(st.sampled_from(MODES))
    size = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    made = Image.new(mode, size)
    if made.width and made.height:
        count = len(made.tobytes("raw", mode))
        raw = (draw(st.binary(min_size=1, max_size=16)) * (count + 1))[:count]
        made = Image.frombytes(mode, size, raw, "raw", mode)
    if mode in ("P", "PA") and draw(st.booleans()):
        kind = draw(st.sampled_from(["RGB", "RGBA"]))
        made.putpalette(draw(st.binary(min_size=12, max_size=12)) * 4, kind)
    for name, value in draw(st.dictionaries(st.sampled_from(["transparency", "dpi", "parameters"]), st.integers(0, 5))).items():
        made.info[name] = value if name != "dpi" else (72, value)
    return made


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
