"""Types in INPUT_TYPES that are more than they look, rebuilt on the other side."""

import json

import pytest

from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool


class AnyType(str):
    def __ne__(self, other):
        return False


class Multi(str):
    def __new__(cls, text, allowed):
        made = str.__new__(cls, text)
        made.allowed = allowed
        return made

    def __ne__(self, other):
        return other not in self.allowed


class Flexible(dict):
    def __contains__(self, key):
        return True

    def __getitem__(self, key):
        return ("INT",)


class Endless(tuple):
    def __getitem__(self, index):
        return tuple.__getitem__(self, min(index, 0))


@pytest.fixture
def cross():
    pool = SegmentPool()
    decode = Decoder(MappedSegments(), lambda tag: None).decode
    yield lambda value: decode(json.loads(json.dumps(Encoder(pool, schema=True).encode(value, "schema"))))
    pool.close()


def test_a_wildcard_is_unequal_to_nothing(cross):
    result = cross(AnyType("*"))
    assert isinstance(result, str) and str.__str__(result) == "*"
    assert not (result != "IMAGE") and not ("IMAGE" != result)  # noqa: SIM202, SIM300


def test_a_restricted_wildcard_keeps_its_list(cross):
    result = cross(Multi("IMAGE", ["IMAGE", "LATENT"]))
    assert not (result != "LATENT")  # noqa: SIM202
    assert result != "MODEL"


def test_a_dict_that_holds_every_name(cross):
    result = cross({"required": {}, "optional": Flexible()})["optional"]
    assert "anything" in result and result["anything"] == ("INT",)


def test_a_tuple_without_end(cross):
    assert cross(Endless(("IMAGE",)))[99] == "IMAGE"


def test_ordinary_types_stay_ordinary(cross):
    value = {"required": {"image": ("IMAGE",), "how": (["a", "b"], {"default": "a"})}}
    result = cross(value)
    assert result == value and type(result["required"]) is dict and type(result["required"]["image"][0]) is str
