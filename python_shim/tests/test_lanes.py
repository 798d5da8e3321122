"""Connections of the call path, over real sockets."""

import asyncio
import socket
import sys
import threading

import pytest

from python_shim.shim.lanes import Lane, Lanes
from python_shim.wire.frames import pack

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows' loop watches no sockets")


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def receive(link, nbytes):
    data = b""
    while len(data) < nbytes:
        data += link.recv(1 << 20)
    return data


def test_a_frame_that_one_loop_began_is_finished_by_the_next(ends):
    ours, theirs = ends
    lane, frame = Lane(ours, lambda header: None), pack({"id": 1}, b"x" * (8 << 20))

    async def first():
        lane.attach(asyncio.get_running_loop())
        lane.send(frame)
        lane.detach()

    async def second():
        lane.attach(asyncio.get_running_loop())
        return await asyncio.to_thread(receive, theirs, len(frame))

    asyncio.run(first())
    assert lane.full
    assert asyncio.run(second()) == frame
    assert not lane.full


def test_what_is_told_when_the_loop_has_ended_waits_for_the_next(ends):
    ours, _ = ends
    lane = Lane(ours, lambda header: None)

    async def prompt():
        lane.attach(asyncio.get_running_loop())

    asyncio.run(prompt())
    lane.tell(pack({"ended": []}, b"x" * (8 << 20)))
    assert lane.full


def test_what_is_no_frame_ends_the_connection_and_every_call_on_it(ends):
    ours, theirs = ends
    lane, answers = Lane(ours, lambda header: None), []

    class Waiting:
        def done(self, header, body, error):
            answers.append(error.code)

    lane.waiting[1] = Waiting()
    theirs.send(b"\xff" * 64)
    lane.wait(5)
    assert lane.dead
    assert answers == ["CONNECTION_LOST"]


class Bridge:
    """Takes connections of the call path."""

    def __init__(self, path):
        self.connection = {"socket": str(path), "port": 0, "token": "t"}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.links = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                link = self._listener.accept()[0]
            except OSError:
                return
            asked = b""
            while not asked.endswith(b"\r\n\r\n"):
                asked += link.recv(1)
            self.links.append(link)
            link.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self.links):
            each.close()


def test_what_is_told_between_two_prompts_takes_no_connection_away_from_the_next(tmp_path):
    bridge, background = Bridge(tmp_path / "bridge"), asyncio.new_event_loop()
    thread = threading.Thread(target=background.run_forever)
    thread.start()
    lanes, frame = Lanes(lambda: bridge.connection, lambda header: None, background), pack({"ended": []})

    async def prompt():
        lanes.of(asyncio.get_running_loop())

    async def tell():
        lanes.tell(frame)

    try:
        asyncio.run(prompt())
        asyncio.run_coroutine_threadsafe(tell(), background).result(5)
        asyncio.run(prompt())
        assert len(bridge.links) == 1
        bridge.links[0].settimeout(5)
        assert receive(bridge.links[0], len(frame)) == frame
    finally:
        background.call_soon_threadsafe(background.stop)
        thread.join()
        background.close()
        for lane in lanes._lanes:
            lane.link.close()
        bridge.close()
