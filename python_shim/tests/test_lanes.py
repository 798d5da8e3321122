"""Connections of the call path, over real sockets."""

import asyncio
import socket
import sys

import pytest

from python_shim.shim.lanes import Lane
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
