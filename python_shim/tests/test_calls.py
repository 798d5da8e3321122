"""What becomes of a call's memory, whatever becomes of the call. The bridge and the worker are frames on real sockets."""

import asyncio
import errno
import json
import socket
import sys
import types

import pytest
import torch

from python_shim.shim import ways
from python_shim.shim.handles import owner_of_handle
from python_shim.shim.lanes import Lanes
from python_shim.shim.remote_error import HandleGone, NodeError
from python_shim.tests.calls_bridge import Bridge, answer, call, leased, until
from python_shim.wire import frames
from python_shim.wire.frames import pack
from python_shim.wire.segments import SegmentPool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows' loop watches no sockets")


def down():
    raise OSError("there is no bridge.json")


@pytest.mark.parametrize(
    "kwargs", [{}, {"z": object()}, {"texts": [str(n) for n in range(300_000)]}], ids=["plain", "no data", "too large"]
)
def test_a_call_that_cannot_be_sent_gives_everything_back(made, monkeypatch, kwargs):
    monkeypatch.setattr(frames, "LARGEST_BODY", 1 << 20)
    calls, _ = made(connection=None if kwargs else down)
    for _ in range(3):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each has its own
            asyncio.run(call(calls, {"image": torch.ones(1 << 20), **kwargs}))
    assert leased(calls) == 0


def test_memory_of_a_call_is_used_again_only_when_its_reader_says_so_or_is_known_to_be_dead(made):
    calls, _ = made(lambda link, header, body: answer(link, header, owner="a1"))
    asyncio.run(call(calls))
    assert leased(calls) > 0
    calls.worker_gone({"owner": "another", "worker": "pack#1", "packs": []})
    assert leased(calls) > 0
    calls.worker_gone({"owner": "a1", "worker": "pack#1", "packs": []})
    assert leased(calls) == 0 and calls.pool.usage()[1] > 0


def test_an_answer_of_a_process_that_has_ended_meanwhile_leaves_nothing_held(made):
    calls, bridge = made()

    def late(link, header, body):
        calls.worker_gone({"owner": "a1", "worker": "pack#1", "packs": []})
        answer(link, header, owner="a1")

    bridge.on_call = late
    asyncio.run(call(calls))
    assert leased(calls) == 0


@pytest.mark.parametrize(
    ("code", "says"),
    [(errno.ENOENT, "ended before the result of node 1 was read"), (errno.EMFILE, "The memory of the result of node 1 cannot be read")],
)
def test_a_result_that_cannot_be_read_says_whose_fault_that_is(made, monkeypatch, code, says):
    calls, bridge = made()
    blob = {"lease": "b1.1", "segment": "b1:1", "pid": 1, "fd": 3, "path": None, "offset": 0, "bytes": 8}
    body = json.dumps({"$": "blob", "kind": "bytes", "segment": blob}).encode()
    bridge.on_call = lambda link, header, _: answer(link, header, body, owner="b1")
    monkeypatch.setattr(calls.mapped, "map", lambda ref: (_ for _ in ()).throw(OSError(code, "no")))
    with pytest.raises(NodeError, match=says):
        asyncio.run(call(calls))


def test_an_input_that_cannot_be_sent_is_said_with_what_to_do_and_under_a_name_of_the_product(made):
    calls, _ = made()
    with pytest.raises(NodeError, match=r"a live object that cannot leave its process\.\n\nRun both nodes in the same place") as caught:
        asyncio.run(call(calls, {"model": object()}))
    assert (caught.type.__module__, caught.type.__qualname__) == ("comfyui_envmanager", "NodeError")


def test_nothing_is_sent_to_a_bridge_before_it_knows_of_this_comfyui(made):
    sent, before = [], []
    calls, _ = made(lambda link, header, body: (sent.append(header), answer(link, header, owner="a1")))

    class Process:
        looks = 0

        @property
        def number(self):
            self.looks += 1
            if self.looks == 10:
                before.append(list(sent))
                calls.introduced = 1
            return 1

    calls._process = Process()
    asyncio.run(call(calls))
    assert before == [[]] and len(sent) == 1


def test_when_the_bridge_ends_what_is_under_way_or_held_is_never_used_again(made):
    calls, bridge = made(lambda link, header, body: answer(link, header, owner="a1"))
    asyncio.run(call(calls))
    before, held = leased(calls), list(calls.pool._leased.values())
    bridge.on_call = lambda link, header, body: bridge.close()
    with pytest.raises(Exception, match="The bridge has gone"):
        asyncio.run(call(calls))
    assert leased(calls) == before  # that of the call under way is ours no more, and nobody's
    calls.bridge_gone()
    assert leased(calls) == 0 and not set(held) & set(calls.pool._free)
    assert calls.is_gone("a1")


def test_a_cancelled_call_gives_its_memory_back_when_its_answer_comes(made):
    asked = []
    calls, bridge = made(lambda link, header, body: asked.append((link, header)))

    async def prompt():
        task = asyncio.ensure_future(call(calls))
        while not asked:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(prompt())
    assert leased(calls) > 0  # a worker may read it
    assert until(lambda: any("cancel" in header for header in bridge.headers))
    answer(*asked[0], body=b"", error={"code": "NODE_INTERRUPTED", "message": "cancelled", "hint": ""})
    assert until(lambda: leased(calls) == 0)


@pytest.mark.parametrize("moment", range(6))
def test_a_call_that_is_cancelled_at_any_moment_leaves_nothing(made, moment):
    calls, _ = made()

    async def prompt():
        task = asyncio.ensure_future(call(calls))
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(prompt())
    assert until(lambda: leased(calls) == 0) and not calls._asking


def test_a_call_with_an_object_of_an_ended_process_is_not_sent(made):
    tag = {"$": "handle", "id": "h1", "owner": "a1", "worker": "pack#1", "type": "m.Thing", "made_by": "Maker"}
    calls, bridge = made(lambda link, header, body: answer(link, header, json.dumps(tag).encode(), owner="a1"))
    gone = []
    calls.on_owner_gone.append(gone.append)
    thing = asyncio.run(call(calls, {"x": 1}))
    assert owner_of_handle(thing) == "a1" and owner_of_handle(3) is None
    asyncio.run(call(calls, {"thing": thing}))
    assert bridge.headers[-1]["call"]["owners"] == ["a1"]
    sent = len(bridge.headers)
    calls.worker_gone({"owner": "a1", "worker": "pack#1", "packs": []})
    with pytest.raises(HandleGone):
        asyncio.run(call(calls, {"image": torch.ones(1 << 20), "thing": thing}))
    assert leased(calls) == 0 and gone == ["a1"] and len([h for h in bridge.headers[sent:] if "call" in h]) == 0
    told = len(calls.client.told)
    del thing
    assert calls.client.told[told:] == []  # its process has ended: there is nobody to tell


def test_a_refused_call_says_that_its_object_is_gone(made):
    error = {"code": "HANDLE_GONE", "message": "It is gone.", "hint": "Run again."}
    calls, _ = made(lambda link, header, body: answer(link, header, b"", error=error))
    with pytest.raises(HandleGone):
        asyncio.run(call(calls))
    assert issubclass(HandleGone, NodeError) and leased(calls) == 0


def test_processes_that_the_bridge_has_no_more_are_gone_after_a_new_link(made):
    calls, _ = made(lambda link, header, body: answer(link, header, owner="a1"))
    asyncio.run(call(calls))
    calls.workers_alive({"owners": ["a1"]})
    assert leased(calls) > 0
    calls.workers_alive({"owners": ["a2"]})
    assert leased(calls) == 0 and calls.is_gone("a1")


class Management(types.ModuleType):
    """ComfyUI's flag."""

    class InterruptProcessingException(Exception):
        pass

    flag = False

    def processing_interrupted(self):
        return self.flag

    def throw_exception_if_processing_interrupted(self):
        if self.flag:
            self.flag = False
            raise self.InterruptProcessingException


def test_cancel_ends_all_calls_of_the_prompt_and_a_check_neither_looks_at_it_nor_takes_it(made, monkeypatch):
    management = Management("comfy.model_management")
    monkeypatch.setitem(sys.modules, "comfy.model_management", management)
    asked = []
    calls, _ = made(lambda link, header, body: asked.append((link, header)))

    async def check():
        management.flag = True
        task = asyncio.ensure_future(call(calls, {"x": 1}, method="VALIDATE_INPUTS"))
        outside = asyncio.ensure_future(call(calls, {"x": 1}, prompt=None))
        await asyncio.sleep(0.3)
        assert management.flag and not task.done() and not outside.done()
        for each in asked:
            answer(*each, owner="a1")
        assert await task is None and await outside is None

    async def prompt():
        nodes = [asyncio.ensure_future(call(calls, {"x": number})) for number in range(3)]
        ended = await asyncio.wait_for(asyncio.gather(*nodes, return_exceptions=True), 5)
        assert [type(error).__name__ for error in ended] == ["InterruptProcessingException"] * 3

    asyncio.run(check())
    asyncio.run(prompt())
    assert not management.flag


def test_the_time_of_a_call_counts_from_its_nodes_start(made):
    asked = []
    calls, bridge = made(lambda link, header, body: asked.append((link, header)))

    async def prompt():
        task = asyncio.ensure_future(call(calls, timeout=0.2))
        await asyncio.sleep(0.5)
        assert not task.done() and asked[0][1]["call"]["says_start"]
        link, header = asked[0]
        link.sendall(pack({"started": header["call"]["call"]}))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert task.done() and type(task.exception()) is asyncio.TimeoutError

    asyncio.run(prompt())
    assert until(lambda: any("cancel" in header for header in bridge.headers))


def test_a_large_straight_call_that_was_not_taken_whole_goes_through_the_bridge_once(made, tmp_path, monkeypatch):
    monkeypatch.setattr(ways, "_LARGEST", 1 << 30)
    accounts, ran = [], []

    def on_bridge(link, header, body):
        if "straight" in header:
            accounts.append(header)
        else:
            ran.append(header)
            answer(link, header, b"1", owner="a2")

    straight = Bridge(tmp_path / "worker", answer, straight=True)
    straight_links = []
    monkeypatch.setattr(straight, "_serve", straight_links.append)
    calls, _ = made(on_bridge)
    calls.ways.learn("pack", {"straight": {"worker": "pack#1", "owner": "a1", "socket": str(tmp_path / "worker")}})

    async def prompt():
        task = asyncio.ensure_future(call(calls, {"texts": [str(number) for number in range(1_500_000)]}))
        while not straight_links:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        straight_links[0].shutdown(socket.SHUT_RD)
        await asyncio.to_thread(lambda: [None for _ in iter(lambda: straight_links[0].recv(1 << 20), b"")])  # it does what has come
        assert await asyncio.wait_for(task, 10) == 1

    asyncio.run(prompt())
    assert len(accounts) == 1 and len(ran) == 1
    assert ran[0]["call"]["call"] == accounts[0]["call"]["call"] and ran[0]["unsent"] == [ran[0]["call"]["call"]]
    straight.close()


def test_tidying_up_goes_on_after_an_error(made, monkeypatch):
    calls, _ = made()
    seen = []

    def fail():
        seen.append(1)
        raise OSError("once")

    monkeypatch.setattr(calls.pool, "shrink", fail)
    assert until(lambda: len(seen) > 2)


def test_where_memory_is_wanted_nothing_is_kept_for_the_next_call(made):
    calls, _ = made()
    calls.pool.release(calls.pool.lease(1 << 20)[0])
    worker = SegmentPool()
    lease, segment = worker.lease(1 << 20)
    view = calls.mapped.map(worker.ref(lease, segment, 0, 1 << 20))
    del view
    calls.mapped.settle()
    assert calls.pool.usage()[1] > 0 and calls.mapped._parked
    calls.relax()
    assert calls.pool.usage() == (0, 0) and not calls.mapped._parked
    worker.close()


def test_lanes_are_of_the_process_that_made_them(made, monkeypatch):
    calls, _ = made()
    assert isinstance(calls.lanes, Lanes)
    monkeypatch.setattr(calls, "_pid", -1)  # as in a forked child
    with pytest.raises(Exception, match="not running"):
        asyncio.run(call(calls))
