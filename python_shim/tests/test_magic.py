"""Types that are more than they look: each answers ComfyUI as the pack's own class does."""

import pytest

from python_shim.wire import magic


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
