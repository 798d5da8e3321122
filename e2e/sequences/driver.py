"""A ComfyUI (the test host) with our pack, started from Python, and the panel's WebSocket to its bridge."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import aiohttp

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Slow machines run these too; nothing waits this long that goes well.
LONG = 120.0


def wait_for(what: str, condition: Callable[[], Any], seconds: float = LONG) -> Any:
    """What the condition gives as soon as that is true. Raises AssertionError with `what` when it takes too long."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.01)


def _environment() -> dict[str, str]:
    """With the Node of the project, which npm's scripts have on their path and a plain pytest has not."""
    node = ROOT / "node_modules" / "node" / "bin"
    return {**os.environ, "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}", "COMFY_ENV_REGISTRY": "off"}


class Panel:
    """The panel's protocol through ComfyUI's own origin, on a thread of its own. Connects anew when the bridge was replaced."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="panel", daemon=True)
        self._thread.start()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reading: asyncio.Task[None] | None = None

    def call(self, method: str, params: dict[str, Any], seconds: float = LONG) -> Any:
        """Ask the bridge. Raises RuntimeError with its error, ConnectionError or TimeoutError without an answer."""
        asked = asyncio.run_coroutine_threadsafe(self._call(method, params, seconds), self._loop)
        return asked.result(seconds + 10)

    def close(self) -> None:
        """Let go."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _call(self, method: str, params: dict[str, Any], seconds: float) -> Any:
        if self._socket is None or self._socket.closed:
            await self._connect()
        assert self._socket is not None
        number = next(self._numbers)
        answer = self._waiting[number] = self._loop.create_future()
        try:
            await self._socket.send_str(json.dumps({"id": number, "method": method, "params": params}))
            reply = await asyncio.wait_for(answer, seconds)
        finally:
            self._waiting.pop(number, None)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']['code']}: {reply['error']['message']}")
        return reply.get("result")

    async def _connect(self) -> None:
        await self._end()
        self._session = aiohttp.ClientSession()
        try:
            address = f"{self._url.replace('http', 'ws')}/api/envmanager/ws"
            self._socket = await self._session.ws_connect(address, origin=self._url, max_msg_size=0)
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error
        self._reading = asyncio.create_task(self._read(self._socket))

    async def _read(self, link: aiohttp.ClientWebSocketResponse) -> None:
        """Always, so that what the panel is told does not pile up."""
        async for message in link:
            if message.type == aiohttp.WSMsgType.TEXT:
                reply = json.loads(message.data)
                waiting = self._waiting.get(reply.get("id", 0))
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the bridge has gone"))

    async def _end(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self._socket = self._session = self._reading = None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Comfy:
    """One ComfyUI in a folder of its own. `packs`: names of its copies of the sample pack `sequence-nodes`."""

    def __init__(self, packs: list[str]) -> None:
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="envmanager-sequences-"))
        for name in ("custom_nodes", "input", "output", "temp", "user/default", "models"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        nodes = self.base / "custom_nodes"
        (nodes / "comfyui-envmanager").symlink_to(ROOT, target_is_directory=True)
        for pack in packs:
            shutil.copytree(ROOT / "e2e" / "packs" / "sequence-nodes", nodes / pack, ignore=shutil.ignore_patterns("__pycache__"))
        self.runs = self.base / "output" / "runs.log"
        self.runs.touch()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = self.base / "comfyui.log"
        frontend = next((ROOT / ".venv" / "frontends").iterdir()) / "comfyui_frontend_package" / "static"
        command = [sys.executable, str(ROOT / "e2e" / "host" / "main.py"), "--base-directory", str(self.base)]
        command += ["--front-end-root", str(frontend), "--port", str(port)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.base, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        atexit.register(self.process.kill)  # also when the tests are broken off
        wait_for("ComfyUI to start", self._has_started)
        self.panel = Panel(self.url)

    def _has_started(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "To see the GUI go to" in self.said()

    def said(self) -> str:
        """The last that it has printed."""
        return self._log.read_text(errors="replace")[-4000:]

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request on a connection of its own."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Connection": "close"})
        try:
            with urllib.request.urlopen(request, timeout=LONG) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {error.code} {error.read()[:2000]!r}") from None
        return json.loads(text) if text else None

    def queue(self, prompt: dict[str, Any]) -> str:
        """Queue a prompt; its id."""
        return self.ask("/api/prompt", {"prompt": prompt, "client_id": "sequences"})["prompt_id"]

    def ended(self, prompt: str) -> dict[str, Any] | None:
        """What became of a prompt; None while it waits or runs."""
        return self.ask(f"/api/history/{prompt}").get(prompt)

    def snapshot(self) -> dict[str, Any]:
        """The panel's state, as soon as a bridge answers."""

        def answer() -> dict[str, Any] | None:
            try:
                return self.panel.call("state.snapshot", {}, 2)
            except (ConnectionError, TimeoutError):
                return None

        return wait_for("the bridge to answer", answer)

    def bridge(self) -> int | None:
        """The process of the bridge."""
        for file in (self.base / "user" / "__envmanager" / "run").glob("*/bridge.json"):
            with contextlib.suppress(OSError, ValueError):
                pid = json.loads(file.read_text())["pid"]
                os.kill(pid, 0)  # a killed one has left its file
                return pid
        return None

    def stop(self) -> None:
        """End it as Ctrl-C does, and remove its folder."""
        self.panel.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        atexit.unregister(self.process.kill)

    def remove(self) -> None:
        """Its folder."""
        shutil.rmtree(self.base, ignore_errors=True)
