"""Classes of the values in `value_strategies.py`: subclasses, enums, data classes and oddities, as packs have them."""

import collections
import dataclasses
import enum
import typing

import numpy
import torch

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
