"""What a worker does with an interrupt."""

import gc
import weakref

import pytest

from python_shim.wire.errors import CodedError
from python_shim.worker.channel import Channel
from python_shim.worker.runner import Interrupted, Runner


@pytest.fixture
def runner():
    made = Runner(Channel(None))
    made.current = "call"
    yield made
    made.pool.close()


def test_an_interrupt_waits_until_what_the_node_shows_is_written(runner):
    written = []

    def write(note):
        written.append("first half")
        runner.cancel("call")
        runner.on_sigint(2, None)  # the bridge insists in the middle of it
        written.append("second half")

    runner.note = write
    with pytest.raises(Interrupted):
        runner.progress.event("shown", {})
    assert written == ["first half", "second half"]


def test_an_interrupt_reaches_the_code_of_a_cancelled_call_only(runner):
    runner.on_sigint(2, None)
    runner.cancel("another")
    runner.on_sigint(2, None)
    runner.cancel("call")
    with pytest.raises(Interrupted):
        runner.on_sigint(2, None)


class Thing:
    """Cannot cross."""


def test_what_a_result_that_cannot_be_sent_would_have_kept_goes(runner):
    class Node:
        FUNCTION = "run"

        def run(self):
            thing = Thing()
            made.append(weakref.ref(thing))
            return thing, (number for number in ())

    made = []
    runner.packs["p"] = {"Node": Node}
    call = {"call": "c", "pack": "p", "class": "Node", "method": "FUNCTION", "node": "1", "prompt": None}
    gc.disable()
    try:
        with pytest.raises(CodedError):
            runner.call(call, {"$": "dict", "v": []})
        assert not runner._handles
        assert made[0]() is None
    finally:
        gc.enable()


def test_how_many_objects_are_kept_is_told_as_it_changes(runner, monkeypatch):
    told = []
    monkeypatch.setattr(runner.channel, "notify", lambda method, params: told.append((method, params["count"])))
    first, second = runner._make_handle(Thing(), "x"), runner._make_handle(Thing(), "y")
    runner.drop_handles([first["id"], "h99"])
    runner.drop_handles([first["id"]])
    runner.drop_handles([second["id"]])
    assert told == [("handles.kept", 1), ("handles.kept", 2), ("handles.kept", 1), ("handles.kept", 0)]


def test_an_object_of_another_process_is_refused_though_it_has_the_same_name(runner):
    tag = runner._make_handle(Thing(), "x")
    assert isinstance(runner._resolve_handle(tag), Thing)
    with pytest.raises(CodedError) as caught:
        runner._resolve_handle({**tag, "owner": "another"})
    assert caught.value.code == "HANDLE_FOREIGN"
    runner.drop_handles([tag["id"]])
    with pytest.raises(CodedError) as caught:
        runner._resolve_handle(tag)
    assert caught.value.code == "HANDLE_GONE"
