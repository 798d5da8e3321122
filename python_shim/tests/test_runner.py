"""What a worker does with an interrupt."""

import pytest

from python_shim.worker.channel import Channel
from python_shim.worker.runner import Interrupted, Runner
from python_shim.worker.running import Running


@pytest.fixture
def runner():
    made = Runner(Channel(None))
    yield made
    made.pool.close()


@pytest.fixture
def running(runner):
    """A call that has the main thread."""
    made = Running({"call": "call", "prompt": "p", "class": "Node", "node": "1"})
    runner.calls.begin(made)
    runner.calls.on_main = made
    return made


def test_an_interrupt_waits_until_what_the_node_shows_is_written(runner, running):
    written = []

    def write(note, leases):
        written.append("first half")
        runner.calls.cancel("call")
        runner.on_sigint(2, None)  # the bridge insists in the middle of it
        written.append("second half")

    running.note = write
    with pytest.raises(Interrupted):
        runner.progress.event("shown", {})
    assert written == ["first half", "second half"]


def test_an_interrupt_reaches_the_code_of_a_cancelled_call_only(runner, running):
    runner.on_sigint(2, None)
    runner.calls.cancel("another")
    runner.on_sigint(2, None)
    runner.calls.cancel("call")
    with pytest.raises(Interrupted):
        runner.on_sigint(2, None)
    runner.calls.end(running)
    runner.on_sigint(2, None)


def test_without_memory_for_what_it_shows_a_node_goes_on(runner, running, capsys):
    notes = []
    running.note = lambda note, leases: notes.append(note)
    runner.pool.limit = 0
    image = pytest.importorskip("PIL.Image").new("RGB", (300, 300))
    runner.progress.report(1, 1, ("JPEG", image, 300))
    for _ in range(2):
        runner.progress.event("shown", {"text": "x" * 100_000})
    assert notes == [{"progress": {"call": "call", "value": 1.0, "total": 1.0}}]
    assert capsys.readouterr().err.count("was not sent") == 1
