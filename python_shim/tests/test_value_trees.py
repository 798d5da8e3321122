"""Containers in each other: what is wrong says where, and a message whose levels do not fit each other is refused."""

import json
import threading

import pytest

from python_shim.wire.decoder import Decoder
from python_shim.wire.encoder import Encoder
from python_shim.wire.errors import CodedError, NotPortable
from python_shim.wire.frames import to_json
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.segments import SegmentPool

LOCK = threading.Lock()


def decoded(tag):
    return Decoder(MappedSegments(), lambda tag: None).decode(json.loads(to_json(tag)))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1, (2, LOCK)], "x[1][1]"),
        ([(1,), (), (2, 3, LOCK)], "x[2][2]"),
        ({"a": [({"b": LOCK},)]}, "x['a'][0][0]['b']"),
        ({(1, 2): {3: LOCK}}, "x[(1, 2)][3]"),
        ([{"a": 1}, {(LOCK,): 1}], "a key of x[1][0]"),
        ([[0.5, {"c": (None, LOCK)}], [1.5]], "x[0][1]['c'][1]"),
        ([({1: 2},), [{1: LOCK}]], "x[1][0][1]"),
    ],
    ids=str,
)
def test_an_error_names_the_place_at_any_depth(value, place):
    with pytest.raises(NotPortable) as refused:
        Encoder(SegmentPool()).encode(value, "x")
    assert str(refused.value).startswith(f"{place} is a _thread.lock")


def nested(levels):
    value = ()
    for _ in range(levels):
        value = (value,)
    return value


def test_what_is_nested_too_deep_is_refused_by_its_place_and_nothing_else_is():
    assert decoded(Encoder(SegmentPool()).encode(nested(99), "x")) == nested(99)
    with pytest.raises(NotPortable, match=r"^x(\[0\]){100} is nested deeper than 100 levels"):
        Encoder(SegmentPool()).encode(nested(100), "x")


def tree(*levels, **parts):
    return {"$": "tree", "levels": list(levels), "v": [], **parts}


@pytest.mark.parametrize(
    "tag",
    [
        tree({"k": "t", "n": 2, "m": "."}, v=[1]),
        tree({"k": "t", "n": 1, "m": "c"}),
        tree({"k": "t", "n": 1, "m": "f"}),
        tree({"k": "l", "n": 2, "m": "c"}, {"k": "l", "n": [0], "m": ""}),
        tree({"k": "l", "n": 2, "m": "c"}, {"k": "lll", "n": 0, "m": ""}),
        tree({"k": "t", "n": 2, "m": ".c"}, {"k": "tt", "n": [0], "m": ""}, v=[1]),
        tree({"k": "t", "n": 1, "m": "a"}, a=[0]),
        tree({"k": "t", "n": 1, "m": "?"}),
        tree({"k": "x", "n": 0, "m": ""}),
        tree({"k": "d", "n": 1, "m": ".", "keys": [["a", "b"]]}, v=[1]),
        tree({"k": "d", "n": 1, "m": ".", "keys": [["a"]], "of": [1]}, v=[1]),
        tree({"k": "d", "n": 2, "m": "."}, v=[1, 2]),
        tree({"k": "d", "n": 3, "m": ".", "pairs": True}, v=[1, 2, 3]),
        tree({"k": "s", "n": 1, "m": "c"}, {"k": "l", "n": 0, "m": ""}),
        tree({"k": "t", "n": -1, "m": "."}, v=[1]),
        tree(),
    ],
    ids=str,
)
def test_levels_that_do_not_fit_each_other_are_refused(tag):
    with pytest.raises(CodedError) as refused:
        decoded(tag)
    assert refused.value.code == "BAD_REQUEST"
