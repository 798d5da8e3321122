"""The link to the bridge, over a real WebSocket: what breaks it, and what a break loses."""

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest
from aiohttp import web

from python_shim.shim.bridge_process import BridgeProcess
from python_shim.shim.client import BridgeClient
from python_shim.wire import PROTOCOL_VERSION
from python_shim.wire.errors import CodedError

from .calls_bridge import until


class Process:
    """A bridge's process, as far as the link looks at it."""

    number, alive, port = 1, True, 0

    def is_running(self, number):
        return self.alive and number == self.number

    def connection(self):
        return {"protocol": PROTOCOL_VERSION, "port": self.port, "token": "t"}


class Bridge:
    """The bridge's end: keeps what it hears, and can break the link."""

    def __init__(self, process):
        self.heard, self.sockets, self.confirms = [], [], True
        self._process, self._loop, self._ready = process, asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _serve(self):
        app = web.Application()
        app.router.add_get("/shim", self._link)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._process.port = site._server.sockets[0].getsockname()[1]

    async def _link(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            said = json.loads(message.data)
            if said.get("method") != "link.check":
                self.heard.append(said)
            elif self.confirms:
                await socket.send_json({"id": said["id"], "result": {}})
        return socket

    def send(self, text):
        asyncio.run_coroutine_threadsafe(self.sockets[-1].send_str(text), self._loop).result(5)

    def cut(self):
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    async def _cut(self):
        transport = self.sockets[-1]._req.transport
        if transport is not None:
            transport.abort()

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def link():
    process, told = Process(), []

    def fail(params):
        told.append("failed")
        raise FileNotFoundError("the event's memory has gone")

    def wait(params):
        threading.Event().wait(30)

    bridge = Bridge(process)
    client = BridgeClient(
        process, {"wait": wait}, {"fails": fail, "note": told.append}, lambda: told.append("linked"), lambda: told.append("lost")
    )
    client.connect()
    assert until(lambda: client.connected and bridge.sockets)  # either end may be the first to know
    yield client, bridge, process, told
    process.alive = False
    if bridge.sockets:
        bridge.cut()
    assert until(lambda: told[-1] == "lost")
    client.loop.call_soon_threadsafe(client.loop.stop)
    assert until(lambda: not client.loop.is_running())
    client.loop.close()
    bridge.close()


@pytest.mark.parametrize(
    "text",
    [
        '{"half',
        "[1, 2]",
        '"text"',
        '{"method": "no.such", "params": {}}',
        '{"method": "fails", "params": {}}',
        '{"method": "note"}',
        '{"id": 99, "result": {}}',
    ],
)
def test_no_message_ends_the_link(link, text):
    client, bridge, _, told = link
    bridge.send(text)
    bridge.send('{"method": "note", "params": 7}')
    assert until(lambda: 7 in told)
    assert client.connected and len(bridge.sockets) == 1 and "lost" not in told


def test_an_unknown_request_is_answered_with_an_error(link):
    _, bridge, _, _ = link
    bridge.send('{"id": 5, "method": "no.such", "params": {}}')
    assert until(lambda: any(said.get("id") == 5 and said["error"]["code"] == "BAD_REQUEST" for said in bridge.heard))


def test_what_is_too_large_is_an_error_of_its_own_and_not_the_end(link, monkeypatch):
    client, bridge, _, told = link
    monkeypatch.setattr("python_shim.shim.client.LARGEST", 5000)
    with pytest.raises(CodedError):
        client.request("host.report", {"text": "x" * 5000})
    client.notify("handle.release", {"handles": ["x" * 5000]})
    client._serves["large"] = lambda params: "x" * 5000
    bridge.send('{"id": 6, "method": "large", "params": {}}')
    assert until(lambda: any(said.get("id") == 6 and "error" in said for said in bridge.heard))
    client.notify("handle.release", {"handles": ["h1"]})
    assert until(lambda: bridge.heard[-1].get("params") == {"handles": ["h1"]}) and "lost" not in told


def test_a_link_that_breaks_is_made_again_and_nothing_that_was_told_is_lost(link):
    client, bridge, _, told = link
    bridge.confirms = False
    client.notify("handle.release", {"handles": ["h1"]})
    assert until(lambda: len(bridge.heard) == 1)
    waits = client.request("pack.load", {})
    bridge.cut()
    with pytest.raises(CodedError) as caught:
        waits.result(5)
    assert caught.value.code == "CONNECTION_LOST"
    client.notify("handle.release", {"handles": ["h2"]})  # maybe while there is no link
    bridge.confirms = True
    assert until(lambda: len(bridge.sockets) == 2 and client.connected)
    names = lambda: [said["params"]["handles"][0] for said in bridge.heard if said.get("method") == "handle.release"]  # noqa: E731
    assert until(lambda: names()[-1:] == ["h2"])
    assert names().count("h1") == 2 and "lost" not in told  # it may have been swallowed: it comes again
    assert until(lambda: not client._told._kept)
    bridge.cut()
    assert until(lambda: len(bridge.sockets) == 3 and client.connected)
    threading.Event().wait(0.1)
    assert names().count("h2") == 1


def test_only_the_end_of_the_process_is_the_end(link):
    client, bridge, process, told = link
    process.alive = False
    bridge.cut()
    assert until(lambda: told[-1] == "lost")
    assert not client.connected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_hold_the_bridge(tmp_path):
    process = BridgeProcess(tmp_path, "", lambda: None, lambda: None)
    process._process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    child = os.fork()
    if child == 0:
        threading.Event().wait(20)
        os._exit(0)
    try:
        process._process.stdin.close()
        assert process._process.wait(5) == 0
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
