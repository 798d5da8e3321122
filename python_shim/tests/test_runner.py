"""What a worker does with an interrupt."""

import pytest

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
