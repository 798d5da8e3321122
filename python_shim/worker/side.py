"""What ComfyUI does on its web server's thread, beside the node that runs: checking inputs, listing choices, prompt handlers, and a
pack's own HTTP routes. One thread with an event loop, started when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import secrets
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..wire.peer import answer
from . import host_server, loader
from .beside_work import BesideWork
from .channel import Channel


class Side:
    """Answers requests of the bridge, and HTTP requests that ComfyUI passes on, while the main thread runs a node."""

    def __init__(self, runner: Any, channel: Channel) -> None:
        self._runner, self._channel = runner, channel
        self.packs: dict[str, loader.Loaded] = {}
        #: Path of the Unix socket to serve routes on; None: a port of this computer, with a key.
        self.socket: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        host_server.PromptServer.start_loop = self.loop
        self._calls = ThreadPoolExecutor(1, "envmanager-check")
        self._served: tuple[Any, str] | None = None
        self.work = BesideWork()

    def ask(self, message: dict[str, Any]) -> None:
        """Reader thread: serve one request without waiting for it."""
        params = message["params"]
        work: dict[str, Callable[[], Any]] = {
            "side.call": lambda: {"value": self._runner.aside(params["call"], params["kwargs"])},
            "pack.describe": lambda: self._describe(params["pack"]),
            "prompt.handle": lambda: {"prompt": json.dumps(self._handle(json.loads(params["prompt"])))},
        }
        self._calls.submit(lambda: self._channel.send(answer(message["id"], work[message["method"]])))

    def _describe(self, pack: str) -> dict[str, Any]:
        loaded = self.packs[pack]
        return {**loaded.report, **loader.describe_classes(loaded, self._runner.encode_schema), **self.offer()}

    def _handle(self, prompt: Any) -> Any:
        """Run a prompt through the packs' handlers, as `PromptServer.trigger_on_prompt` does."""
        for handler in sys.modules["server"].PromptServer.instance.on_prompt_handlers:
            try:
                prompt = handler(prompt)
            except Exception:  # noqa: BLE001 - ComfyUI too goes on without it
                traceback.print_exc()
        return prompt

    def offer(self) -> dict[str, Any]:
        """`routes` and `web_socket` of `LoadedPack`: what packs have declared, served from now on."""
        server = sys.modules.get("server")
        app = None if server is None else host_server.application(server.PromptServer.instance)
        if app is None:
            return {"routes": [], "web_socket": None}
        count = len(app.router.routes())
        if self._served is None or self._served[0] != count:
            address = asyncio.run_coroutine_threadsafe(self._serve(app), self.loop()).result(30)
            self._served = (count, address)
        return {"routes": host_server.patterns(app), "web_socket": self._served[1]}

    def loop(self) -> asyncio.AbstractEventLoop:
        """The side's event loop, which packs see as `PromptServer.instance.loop`."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="envmanager-side", daemon=True).start()
            return self._loop

    async def _serve(self, app: Any) -> str:
        web = importlib.import_module("aiohttp.web")
        key = secrets.token_hex(16)
        if self.socket is None:
            app.middlewares.append(_only_with(web, key))
        app.middlewares.append(_counted(web, self.work))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        if self.socket is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)
            await web.UnixSite(runner, self.socket).start()
            os.chmod(self.socket, 0o600)
            return self.socket
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"tcp:{site._server.sockets[0].getsockname()[1]}:{key}"


def _counted(web: Any, work: BesideWork) -> Any:
    """A request is work until it is answered, a WebSocket until it is closed."""

    @web.middleware
    async def count(request: Any, handler: Any) -> Any:
        work.begin()
        try:
            result = handler(request)
            return await result if inspect.isawaitable(result) else result
        finally:
            work.end()

    return count


def _only_with(web: Any, key: str) -> Any:
    """Other programs of this computer can reach a port: only ComfyUI knows the key."""

    @web.middleware
    async def check(request: Any, handler: Any) -> Any:
        if not secrets.compare_digest(request.headers.get("X-Envmanager-Key", ""), key):
            raise web.HTTPForbidden
        result = handler(request)
        return await result if inspect.isawaitable(result) else result

    return check
