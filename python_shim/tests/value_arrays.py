"""Tensors, arrays and pictures of every kind, for `value_strategies.py`."""

import math

import numpy
import torch
from hypothesis import strategies as st
from PIL import Image

from python_shim.tests.value_classes import (
    Array,
)

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
