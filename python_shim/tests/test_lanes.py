"""Connections of the call path, over real sockets."""

import asyncio
import socket
import sys
import threading

import pytest

from python_shim.shim.connecting import Unsent
from python_shim.shim.lane import Lane, Waiter
from python_shim.shim.lanes import MOST_IDLE, Lanes
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


@pytest.mark.parametrize("cut", [0, 20], ids=["in one piece", "in two"])
def test_what_one_frame_makes_go_wrong_loses_none_behind_it(ends, cut):
    ours, theirs = ends
    answers = []

    def told(header):
        raise FileNotFoundError("the event's memory has gone")

    def done(header, body, error):
        answers.append(body)
        raise ValueError("of whoever waited")

    async def prompt():
        lane.attach(asyncio.get_running_loop())
        data = pack({"event": {"call": None}}) + pack({"id": 1}, b"first" * 10) + pack({"id": 2}, b"second" * 10)
        theirs.send(data[: len(data) - cut])
        await asyncio.sleep(0.05)
        theirs.send(data[len(data) - cut :])
        await asyncio.sleep(0.05)

    lane = Lane(ours, told)
    lane.waiting |= {1: Waiter(done), 2: Waiter(done)}
    asyncio.run(prompt())
    assert answers == [b"first" * 10, b"second" * 10] and not lane.dead


def test_a_call_that_was_not_written_as_a_whole_was_not_sent_and_one_that_was_is_still_answered(ends):
    ours, theirs = ends
    lane, said = Lane(ours, lambda header: None), {}

    def waiter(name):
        return Waiter(lambda header, body, error: said.__setitem__(name, error))

    async def prompt():
        lane.attach(asyncio.get_running_loop())
        whole = lane.ask({"call": {}}, b"x", waiter("whole"))
        lane.ask({"call": {}}, b"x" * (8 << 20), waiter("part"))
        lane.ask({"call": {}}, b"x", waiter("behind it"))
        theirs.shutdown(socket.SHUT_RD)
        await asyncio.to_thread(lambda: [None for _ in iter(lambda: theirs.recv(1 << 20), b"")])  # what has come is read
        while len(said) < 2:
            await asyncio.sleep(0.01)
        assert isinstance(said["part"], Unsent) and isinstance(said["behind it"], Unsent) and "whole" not in said
        with pytest.raises(OSError):
            lane.ask({"call": {}}, b"x", waiter("later"))
        theirs.send(pack({"id": whole}))
        while "whole" not in said:
            await asyncio.sleep(0.01)
        assert said["whole"] is None

    asyncio.run(prompt())


def test_a_connection_with_a_descriptor_beyond_1024_is_waited_for():
    import fcntl
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("this machine allows too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    ours, theirs = socket.socketpair()
    high = socket.socket(fileno=fcntl.fcntl(ours.fileno(), fcntl.F_DUPFD_CLOEXEC, 2000))
    high.setblocking(False)
    lane, answers = Lane(high, lambda header: None), []
    try:
        lane.waiting[1] = Waiter(lambda header, body, error: answers.append(body))
        lane.send(pack({}, b"x" * (8 << 20)))
        assert lane.full
        theirs.send(pack({"id": 1}, b"answer"))
        lane.wait(5)
        assert answers == [b"answer"]
    finally:
        for each in (ours, theirs, high):
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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


@pytest.fixture
def path_of_calls(tmp_path):
    """A bridge, and the connections to it."""
    bridge, background = Bridge(tmp_path / "bridge"), asyncio.new_event_loop()
    thread = threading.Thread(target=background.run_forever)
    thread.start()
    lanes = Lanes(lambda: bridge.connection, lambda header: None, background)
    yield bridge, lanes, background
    background.call_soon_threadsafe(background.stop)
    thread.join()
    background.close()
    for lane in lanes._lanes:
        lane.link.close()
    bridge.close()


def on(background, work):
    """Do something on the background's thread."""

    async def do():
        return work()

    return asyncio.run_coroutine_threadsafe(do(), background).result(5)


def test_a_thousand_prompts_that_leave_a_call_behind_need_one_connection(path_of_calls):
    bridge, lanes, background = path_of_calls
    left = []

    async def prompt():
        lane = await lanes.bridge(asyncio.get_running_loop())
        lane.ask({"call": {}}, b"", Waiter(lambda header, body, error: left.append(error)))

    for number in range(1000):
        asyncio.run(prompt())
        if number % 3 == 0:
            on(background, lanes.sweep)  # now it is read there, and the next prompt takes it over
    assert len(bridge.links) == 1
    on(background, lanes.sweep)
    bridge.links[0].sendall(b"".join(pack({"id": number}) for number in range(1, 1001)))
    for _ in range(100):
        if len(left) == 1000:
            break
        threading.Event().wait(0.02)
    assert left == [None] * 1000


def test_connections_that_nobody_needs_any_more_are_closed(path_of_calls):
    bridge, lanes, background = path_of_calls
    loops = [asyncio.new_event_loop() for _ in range(MOST_IDLE + 5)]
    for loop in loops:
        loop.run_until_complete(lanes.bridge(loop))
    assert len(bridge.links) == len(loops)
    for loop in loops:
        loop.close()
    on(background, lanes.sweep)
    assert len(lanes._lanes) == MOST_IDLE


def test_a_bridge_that_does_not_answer_holds_up_no_loop(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "bridge"))
    listener.listen()
    background = asyncio.new_event_loop()
    lanes = Lanes(lambda: {"socket": str(tmp_path / "bridge"), "port": 0, "token": "t"}, lambda header: None, background)

    async def prompt():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lanes.bridge(asyncio.get_running_loop()), 0.2)

    asyncio.run(asyncio.wait_for(prompt(), 2))
    listener.close()
    lanes._connecting.exception(5)
    background.close()


def test_what_is_told_between_two_prompts_takes_no_connection_away_from_the_next(tmp_path):
    bridge, background = Bridge(tmp_path / "bridge"), asyncio.new_event_loop()
    thread = threading.Thread(target=background.run_forever)
    thread.start()
    lanes, frame = Lanes(lambda: bridge.connection, lambda header: None, background), pack({"ended": []})

    async def prompt():
        await lanes.bridge(asyncio.get_running_loop())

    async def tell():
        assert lanes.tell(frame)

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
