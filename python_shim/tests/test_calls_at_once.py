"""Calls in a worker's process: async nodes, node objects, handles, checks beside them, and its end."""

import os
import socket
import sys
import time

import pytest

from python_shim.tests.worker_process import Tagged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def test_async_nodes_run_beside_each_other(worker):
    began = time.monotonic()
    calls = [worker.start("Wait", {"seconds": 0.25, "name": str(n)}, straight=n % 2 == 0) for n in range(32)]
    assert [worker.wait(number) for number in calls[::2]] == [str(n) for n in range(0, 32, 2)]
    worker.ask({"folders": {"root": "", "models": {}, **dict.fromkeys(("output", "input", "temp", "user"), "/tmp")}})
    assert time.monotonic() - began < 1.5


def test_what_is_not_async_runs_alone_and_in_order(worker):
    calls = [worker.start("Wait", {"seconds": 0.1, "name": "async"}), worker.start("Block", {"seconds": 0.3, "name": "first"})]
    calls += [worker.start("Block", {"name": "second"}), worker.start("Wait", {"name": "quick"})]
    assert [worker.wait(number) for number in calls] == ["async", "first", "second", "quick"]
    order = ["begin async", "begin first", "end first", "begin second", "end second"]
    assert worker.run("Log")[: len(order)] == order


def test_what_an_async_node_leaves_running_lives_until_its_prompt_ends(worker):
    worker.run("LeaveTask", {"name": "a"}, prompt="one")
    worker.run("LeaveTask", {"name": "b"}, prompt="two")
    time.sleep(0.15)  # nothing comes meanwhile, and they go on
    assert {"a step", "b step"} <= set(worker.run("Log", prompt="two"))
    worker.tell("prompt.ended", prompt="one")
    time.sleep(0.1)
    assert "a ended" in worker.run("Log", prompt="two")
    time.sleep(0.1)
    assert set(worker.run("Log", prompt="two")) == {"b step"}


def test_a_cancel_reaches_its_own_call_only(worker):
    slow, other = worker.start("Wait", {"seconds": 30, "name": "slow"}), worker.start("Wait", {"seconds": 0.4, "name": "other"})
    time.sleep(0.1)
    worker.tell("call.cancel", call=f"c{slow}")
    assert worker.wait(slow) == "NODE_INTERRUPTED"
    assert worker.wait(other) == "other"
    busy = worker.start("Busy", {"seconds": 30})
    time.sleep(0.1)
    worker.tell("call.cancel", call=f"c{busy}")
    assert worker.wait(busy) == "NODE_INTERRUPTED"
    assert worker.run("Busy", {"seconds": 0.05}) == "to its end"


def test_comfyuis_interrupt_flag_is_not_raised_for_a_call_beside_the_one_that_runs(worker):
    waiting, busy = worker.start("Wait", {"seconds": 30}), worker.start("Busy", {"seconds": 0.5})
    time.sleep(0.2)
    worker.tell("call.cancel", call=f"c{waiting}")
    assert worker.wait(busy) == "to its end"
    assert worker.wait(waiting) == "NODE_INTERRUPTED"


def test_progress_belongs_to_the_call_whose_code_tells_it(worker):
    calls = [worker.start("Stubborn", {"name": name}) for name in "ab"]
    time.sleep(0.3)
    worker.tell("call.cancel", call=f"c{calls[0]}")
    assert worker.wait(calls[0]) == "NODE_INTERRUPTED"
    told = {note["call"]: note["value"] for note in worker.shown("progress")}
    assert told.keys() == {f"c{number}" for number in calls} and min(told.values()) >= 2
    worker.tell("call.cancel", call=f"c{calls[1]}")
    assert worker.wait(calls[1]) == "NODE_INTERRUPTED"
    thread = worker.start("Thread")
    assert worker.wait(thread) == "done"
    assert worker.shown("progress")[-1] == {"call": f"c{thread}", "value": 2.0, "total": 2.0}


def test_calls_that_wait_when_the_link_ends_are_answered(worker):
    number = worker.start("Wait", {"seconds": 0.3, "name": "late"})
    worker.link.shutdown(socket.SHUT_WR)
    os.close(worker.tasks)
    assert worker.wait(number) == "late"
    assert worker.process.wait(5) == 0


def test_a_node_object_lives_as_long_as_comfyuis_and_ends_on_the_main_thread(worker):
    assert [worker.run("Count", node="7", instance=name) for name in ("x", "x", "y")] == [1, 2, 1]
    assert [worker.run("Count", node="7"), worker.run("Count", node="7")] == [1, 2]
    worker.tell("instance.release", instances=["x", "unknown"])
    time.sleep(0.2)
    assert worker.run("Log") == ["gone on MainThread"]
    assert [worker.run("Count", node="7", instance=name) for name in ("y", "x")] == [2, 1]
    slow = worker.start("CountSlowly", instance="z")
    time.sleep(0.1)
    worker.tell("instance.release", instances=["z"])
    assert worker.wait(slow) == 1
    assert worker.run("Log") == ["done", "gone on MainThread"]


def test_handles_of_another_process_are_told_from_ours(worker):
    tag = worker.run("MakeThing")
    assert worker.run("UseThing", {"thing": Tagged(tag)}) == "Thing"
    assert worker.run("UseThing", {"thing": Tagged({**tag, "owner": "before"})}) == "HANDLE_GONE"
    assert worker.run("UseThing", {"thing": Tagged({**tag, "owner": "before", "worker": "q#1"})}) == "HANDLE_FOREIGN"
    worker.tell("handle.release", handles=[tag["id"]])
    time.sleep(0.1)
    assert worker.run("UseThing", {"thing": Tagged(tag)}) == "HANDLE_GONE"


def test_handles_of_a_result_that_cannot_be_sent_are_dropped(worker):
    assert worker.run("MakeBad") == "VALUE_NOT_PORTABLE"
    assert worker.run("Log") == ["gone on MainThread"]


def test_a_check_beside_a_node_changes_nothing_of_it(worker):
    alone = worker.run("Expand", {"seconds": 0.0}, node="42", index=1)
    assert alone == ("42.1.", "42")
    number = worker.start("Expand", {"seconds": 0.4}, node="42", index=1)
    time.sleep(0.15)
    call = {"call": "side", "pack": "p", "class": "Checked", "method": "VALIDATE_INPUTS", "node": "9", "prompt": None}
    worker.request("side.call", call=call, kwargs={"$": "dict", "v": [["cls", "cat"]]})
    assert worker.line() == {"id": 1, "result": {"value": True}}
    assert worker.wait(number) == alone


def test_inputs_may_be_called_cls_and_self(worker):
    assert worker.run("Checked", {"cls": "cat", "self": "me"}) == "cat me"
    assert worker.run("Checked", {"cls": "cat", "self": "me"}, method="IS_CHANGED") == "cat me"


def test_what_packs_have_written_is_on_disk_at_a_wanted_end(worker, tmp_path):
    worker.run("Write", {"file": str(tmp_path / "out")})
    assert worker.end() < 1.4
    assert (tmp_path / "out").read_text() == "in the buffer"
    assert (tmp_path / "out.atexit").read_text() == "ran"


def test_a_handler_that_hangs_does_not_keep_a_worker(worker, tmp_path):
    worker.run("Write", {"file": str(tmp_path / "out"), "hang": True})
    assert worker.end() < 3
    assert (tmp_path / "out").read_text() == "in the buffer"


def test_a_message_that_cannot_be_taken_ends_nothing(worker):
    for line in (b"no json\n", b'{"method": "lease.release", "params": {}}\n', b"[]\n", b'{"id": 1, "method": "unknown", "params": {}}\n'):
        worker.process.stdin.write(line)
    worker.request("worker.ping")
    assert worker.line() == {"id": 1, "result": {"busy": False, "beside_ms": None}}
    assert worker.run("Wait", {"name": "still here"}) == "still here"
