"""Types that are more than they look: each answers ComfyUI as the pack's own class does."""

import json
import sys
import types

import pytest

from python_shim.wire import magic
from python_shim.wire.decoder import Decoder
from python_shim.wire.mapping import MappedSegments
from python_shim.wire.schema_values import SchemaValues


class OnlyNe(str):
    """The usual wildcard."""

    def __ne__(self, other):
        return False


class Both(str):
    def __ne__(self, other):
        return False

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Some(str):
    def __ne__(self, other):
        return other not in ("IMAGE", "MASK")


class OnlyEq(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Plain(str):
    pass


TYPES = ["INT", "FLOAT", "STRING", "BOOLEAN", "IMAGE", "MASK", "OTHER_PACKS_TYPE", "*"]


@pytest.mark.parametrize("kind", [OnlyNe, Both, Some, OnlyEq])
@pytest.mark.parametrize("name", ["*", "IMAGE", "ANY"])
def test_a_wildcard_answers_both_questions_as_its_class_does(kind, name):
    own = kind(name)
    tag = magic.probe(own)
    assert tag is not None
    other = magic.rebuild({**tag, "v": name}, name, None)
    assert [other == kind for kind in TYPES] == [own == kind for kind in TYPES]
    assert [other != kind for kind in TYPES] == [own != kind for kind in TYPES]
    assert other == name and hash(other) == hash(name)


@pytest.mark.parametrize("name", ["*", "IMAGE", "ANY"])
def test_a_class_that_changes_nothing_is_a_text(name):
    assert magic.probe(Plain(name)) is None


ALLOWED = {"OTHER_PACKS_TYPE", "LATER"}


class ByConstant(str):
    def __ne__(self, other):
        return other not in ("MYPACK_PIPE", "MODEL")


class ByGlobal(str):
    def __eq__(self, other):
        return other in ALLOWED

    def __ne__(self, other):
        return other not in ALLOWED

    __hash__ = str.__hash__


class ByAttribute(str):
    takes = ("MYPACK_PIPE", "MODEL,CLIP")

    def __ne__(self, other):
        return not any(other in each.split(",") for each in self.takes)


class ByInstance(str):
    def __new__(cls, name):
        made = super().__new__(cls, name)
        made.takes = {"MYPACK_PIPE": ["LATER"]}
        return made

    def __ne__(self, other):
        return other not in self.takes and other not in self.takes["MYPACK_PIPE"]


class ByOwnText(str):
    def __ne__(self, other):
        return other not in self.split(",")


class ByPrefix(str):
    """Known only by the node classes that there are."""

    def __ne__(self, other):
        return not other.startswith("MYPACK_")


class AllBut(str):
    def __ne__(self, other):
        return other in ("IMAGE", "MYPACK_PIPE")

    def __eq__(self, other):
        return other != "MASK"

    __hash__ = str.__hash__


class OnlyTexts(str):
    def __ne__(self, other):
        return not isinstance(other, str)


class Fails(str):
    def __ne__(self, other):
        return {"IMAGE": False}[other]


KINDS = [ByConstant, ByGlobal, ByAttribute, ByInstance, ByOwnText, ByPrefix, AllBut, OnlyTexts, OnlyNe, Both, OnlyEq]
NAMES = [*TYPES, "MYPACK_PIPE", "MODEL", "CLIP", "LATER", "MYPACK_OTHER", "NOBODYS", ["a", "list"], []]


@pytest.fixture
def nodes(monkeypatch):
    made = types.SimpleNamespace(RETURN_TYPES=("MYPACK_OTHER", ["a", "list"]))
    fails = type("Fails", (), {"RETURN_TYPES": property(lambda self: 1 / 0)})()
    monkeypatch.setitem(sys.modules, "nodes", types.SimpleNamespace(NODE_CLASS_MAPPINGS={"Made": made, "Fails": fails}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["*", "MYPACK_PIPE", "LATER,MODEL"])
def test_a_wildcard_over_types_of_packs_answers_as_its_class_does(nodes, kind, name):
    own = kind(name)
    tag = json.loads(json.dumps(SchemaValues(lambda value, path: None).form(own, "x")))
    other = Decoder(MappedSegments(), lambda tag: None).decode(tag)
    asked = [each for each in NAMES if kind not in (ByPrefix, ByGlobal, ByInstance) or isinstance(each, str)]  # they raise at a list
    if kind is ByPrefix:
        asked.remove("MYPACK_PIPE")  # no node class here gives it
    assert [(each, other == each, other != each) for each in asked] == [(each, own == each, own != each) for each in asked]
    assert [(each == other, each != other) for each in asked] == [(each == own, each != own) for each in asked]


def test_a_comparison_that_raises_is_a_no(nodes):
    tag = magic.probe(Fails("x"))
    assert tag["ne"] == ["IMAGE"] and tag["others"] == [False, False]
