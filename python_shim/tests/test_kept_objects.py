"""Objects that stay in a worker."""

import pytest

from python_shim.wire.errors import CodedError
from python_shim.worker.kept_objects import KeptObjects


class Thing:
    """Cannot cross."""


def kept(told=None):
    objects = KeptObjects((told if told is not None else []).append)
    objects.worker = "pack#1"
    return objects


def test_how_many_objects_are_kept_is_told_as_it_changes():
    told = []
    objects = kept(told)
    first, second = objects.keep("Node", Thing(), "x"), objects.keep("Node", Thing(), "y")
    objects.drop([first["id"], "h99"])
    objects.drop([first["id"]])
    objects.drop([second["id"]])
    assert told == [1, 2, 1, 0]


def test_no_other_process_has_an_object_of_that_name():
    assert kept().keep("Node", Thing(), "x")["id"] != "h1"


@pytest.mark.parametrize(("worker", "code"), [("pack#1", "HANDLE_GONE"), ("other#1", "HANDLE_FOREIGN")])
def test_an_object_of_another_process_is_refused_though_it_has_the_same_name(worker, code):
    objects = kept()
    tag = objects.keep("Node", Thing(), "x")
    assert isinstance(objects.find("User", tag), Thing)
    with pytest.raises(CodedError) as caught:
        objects.find("User", {**tag, "owner": "another", "worker": worker})
    assert caught.value.code == code


def test_an_object_that_comfyui_has_let_go_of_is_gone():
    objects = kept()
    tag = objects.keep("Node", Thing(), "x")
    objects.drop([tag["id"]])
    with pytest.raises(CodedError) as caught:
        objects.find("User", tag)
    assert caught.value.code == "HANDLE_GONE"
