"""What a worker does with an interrupt."""

import json
import os
import signal
import sys
import threading
import types

import pytest

from python_shim.worker.channel import Channel
from python_shim.worker.main import Worker
from python_shim.worker.runner import Interrupted, Runner
from python_shim.worker.running import Running
from python_shim.worker.tasks import Tasks


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


@pytest.mark.parametrize("base", [Exception, BaseException])
def test_a_node_that_cleans_up_hears_comfyuis_own_interrupt_where_it_shows_its_progress(monkeypatch, runner, running, base):
    kind = type("InterruptProcessingException", (base,), {})
    monkeypatch.setitem(sys.modules, "comfy.model_management", types.SimpleNamespace(InterruptProcessingException=kind))
    runner.calls.cancel("call")
    with pytest.raises(kind) as caught:
        runner.progress.report(1, 2, None)
    assert isinstance(caught.value, Interrupted)
    with pytest.raises(Interrupted) as insisted:
        runner.on_sigint(2, None)
    assert type(insisted.value) is Interrupted


def test_where_a_signal_would_end_the_process_a_message_interrupts_the_main_thread(monkeypatch, running, runner):
    (ours, bridges), (tasks, no_task), (no_answer, answers) = os.pipe(), os.pipe(), os.pipe()
    worker = Worker(None, Channel(None), Tasks(tasks, answers))
    monkeypatch.setattr(worker, "_runner", runner)
    monkeypatch.setattr("python_shim.worker.ending.leave", lambda: None)
    before = signal.signal(signal.SIGINT, runner.on_sigint)
    with os.fdopen(ours, "rb") as lines, os.fdopen(bridges, "wb") as messages:
        reader = threading.Thread(target=worker._read, args=(lines,))
        reader.start()
        try:
            for method, params in (("call.cancel", {"call": "call"}), ("worker.interrupt", {})):
                messages.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
            messages.flush()
            with pytest.raises(Interrupted):
                for _ in range(1000):
                    reader.join(0.01)
        finally:
            messages.close()
            reader.join()
            signal.signal(signal.SIGINT, before)
            for descriptor in (tasks, no_task, no_answer, answers):
                os.close(descriptor)


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
