"""What a worker's main thread has to do: tasks of the bridge on a pipe, calls of ComfyUI on a socket. Real ones, in this process."""

import os
import socket
import sys
import threading
import time

import pytest

from python_shim.wire.frames import FrameReader, pack
from python_shim.worker.tasks import Tasks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


class Bridge:
    """Tasks of a worker, and the other ends of its links."""

    def __init__(self, folder):
        take, self.tasks = os.pipe()
        self.answers, give = os.pipe()
        self.path = str(folder / "calls.sock")
        self.worker = Tasks(take, give)
        self.worker.listen(self.path)
        self._open = [take, give, self.answers]
        self._links = []

    def connect(self):
        link = socket.socket(socket.AF_UNIX)
        self._links.append(link)
        link.settimeout(5)
        link.connect(self.path)
        return link

    def end(self):
        os.close(self.tasks)

    def close(self):
        self.worker.close()
        for link in self._links:
            link.close()
        for fd in self._open:
            os.close(fd)


@pytest.fixture
def bridge(tmp_path):
    made = Bridge(tmp_path)
    yield made
    made.close()


def frames(link):
    """Everything that comes until the other end closes."""
    reader, found = FrameReader(), []
    while data := link.recv(1 << 16):
        found += reader.feed(data)
    return found


def serve(worker):
    """What a worker does, without nodes: it answers what it was asked."""
    done = []
    for header, body, source in worker:
        done.append(header["id"])
        source.answer({"id": header["id"]}, body)
    return done


def test_what_was_sent_before_the_end_is_done_and_nothing_can_be_sent_after_it(bridge):
    first, second = bridge.connect(), bridge.connect()
    for number in (1, 2, 3):
        first.send(pack({"id": number}, b"%d" % number))
    second.send(pack({"id": 4}, b"4"))  # its connection has not been accepted yet
    bridge.worker.close()
    for link in (first, second):
        with pytest.raises(BrokenPipeError):
            link.send(pack({"id": 5}))
    with pytest.raises(ConnectionRefusedError):
        bridge.connect()
    bridge.end()
    assert sorted(serve(bridge.worker)) == [1, 2, 3, 4]
    assert [(header["id"], body) for header, body in frames(first)] == [(1, b"1"), (2, b"2"), (3, b"3")]
    assert [(header["id"], body) for header, body in frames(second)] == [(4, b"4")]


def test_a_wait_for_tasks_ends_with_the_bridge(bridge):
    link = bridge.connect()
    link.send(pack({"id": 1}))
    done = []
    thread = threading.Thread(target=lambda: done.append(serve(bridge.worker)))
    thread.start()
    assert link.recv(100)
    bridge.end()
    thread.join(5)
    assert done == [[1]]
    assert link.recv(1) == b""


def test_tasks_of_the_bridge_go_before_calls_that_came_meanwhile(bridge):
    link = bridge.connect()
    os.write(bridge.tasks, pack({"id": 0}))
    for header, _, source in bridge.worker:  # accepts the connection
        source.answer({"id": header["id"]})
        break
    link.send(pack({"id": 2}))
    os.write(bridge.tasks, pack({"id": 1, "folders": {}}))
    bridge.end()
    assert serve(bridge.worker) == [1, 2]


def test_a_comfyui_that_does_not_read_holds_up_no_node_and_gets_everything_in_order_but_old_progress(bridge):
    link = bridge.connect()
    link.send(pack({"id": 1}))
    bridge.end()
    dropped = []
    bridge.worker.drop = dropped.extend

    def node():
        for header, _, source in bridge.worker:
            for step in range(5000):
                source.note(header["id"], {"progress": {"value": step, "preview": "x" * 200}}, [f"p{step}"])
                source.note(header["id"], {"event": {"value": step, "data": "x" * 200}}, [])
            source.answer({"id": header["id"]}, b"done")
            ran.set()

    ran = threading.Event()
    thread = threading.Thread(target=node)
    thread.start()
    assert ran.wait(10)
    found = frames(link)
    thread.join(5)
    assert [header["event"]["value"] for header, _ in found if "event" in header] == list(range(5000))
    progress = [header["progress"]["value"] for header, _ in found if "progress" in header]
    assert progress == sorted(progress) and progress[-1] == 4999 and len(progress) < 2500
    assert sorted(dropped) == sorted(f"p{step}" for step in set(range(5000)) - set(progress))
    assert found[-1] == ({"id": 1}, b"done")
    assert all("id" not in header for header, _ in found[:-1])


def test_what_nobody_reads_has_a_bound_and_its_memory_comes_back(bridge):
    link = bridge.connect()
    link.send(pack({"id": 1}))
    bridge.end()
    dropped = []
    bridge.worker.drop = dropped.extend
    for header, _, source in bridge.worker:
        for step in range(1000):
            source.note(header["id"], {"event": {"data": "x" * 100_000}}, [step])
        assert source._bytes < 34 << 20 and 600 < len(dropped) < 800
        link.close()
        source.note(header["id"], {"event": {}}, ["after"])
    until = time.monotonic() + 5
    while len(dropped) < 990 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(dropped) >= 990 and "after" in dropped


def test_work_beside_the_tasks_is_done_by_the_main_thread_while_it_waits(bridge):
    done = []
    thread = threading.Thread(target=lambda: serve(bridge.worker), name="main-here")
    thread.start()
    time.sleep(0.05)
    bridge.worker.beside(lambda: done.append(threading.current_thread().name))
    until = time.monotonic() + 5
    while not done and time.monotonic() < until:
        time.sleep(0.01)
    bridge.end()
    thread.join(5)
    assert done == ["main-here"]


def test_without_a_descriptor_for_it_a_call_waits_at_no_cost(bridge):
    import resource  # not on Windows

    link = bridge.connect()
    link.send(pack({"id": 1}))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used, done = [], []

    def run():
        done.extend(serve(bridge.worker))
        used.append(time.thread_time())

    thread = threading.Thread(target=run)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no new ones: those that are open stay
    try:
        thread.start()
        thread.join(0.5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    link.shutdown(socket.SHUT_WR)
    assert FrameReader().feed(link.recv(1000))
    bridge.end()
    thread.join(5)
    assert done == [1] and used[0] < 0.2
