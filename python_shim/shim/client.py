"""The link to the bridge: a thread with an event loop of its own, since ComfyUI makes a new loop for every prompt."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..wire import PROTOCOL_VERSION
from ..wire.errors import CodedError
from ..wire.peer import PendingCalls, answer, dumps
from . import log
from .bridge_process import BridgeProcess
from .connecting import lost

Requests = dict[str, Callable[[dict[str, Any]], Any]]
MAX_MESSAGE = 256 << 20


class BridgeClient:
    """Sends requests and notifications from any thread. `serves` answers the bridge's requests, `hears` its notifications."""

    def __init__(
        self, process: BridgeProcess, serves: Requests, hears: Requests, on_connect: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        self._process, self._serves, self._hears = process, serves, hears
        self._on_connect, self._on_lost = on_connect, on_lost
        self._pending = PendingCalls()
        self._pending.close(CodedError("CONNECTION_LOST", "The bridge is not running yet.", "Try again in a few seconds."))
        # it watches sockets of the call path too, which Windows' usual loop cannot
        self.loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
        self._out: asyncio.Queue[str] | None = None
        self._task: Any = None
        threading.Thread(target=self._run, name="envmanager-link", daemon=True).start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    @property
    def connected(self) -> bool:
        """Whether there is a link now."""
        return self._out is not None

    def connect(self) -> None:
        """Called when a bridge is ready."""
        asyncio.run_coroutine_threadsafe(self._link(), self.loop)

    def request(self, method: str, params: dict[str, Any]) -> Future[Any]:
        """Ask; the future fails with a CodedError if there is no bridge, or if it goes."""
        number, future = self._pending.open()
        self._send({"id": number, "method": method, "params": params})
        return future

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell, if anybody listens. Safe in a finalizer."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        if self._out is not None:
            self.loop.call_soon_threadsafe(self._out.put_nowait, dumps(message))

    async def _link(self) -> None:
        import aiohttp  # a third of a second that ComfyUI's start does not wait for: it is spent on this thread

        try:
            found = self._process.connection()
            if found["protocol"] != PROTOCOL_VERSION:
                log.error("comfyui-envmanager: the bridge speaks protocol %s, ComfyUI's part %s", found["protocol"], PROTOCOL_VERSION)
                return
            url = f"http://127.0.0.1:{found['port']}/shim"
            headers = {"Authorization": f"Bearer {found['token']}"}
            # the bridge is on loopback: no proxy of the user's environment stands between
            async with aiohttp.ClientSession(trust_env=False) as session:
                async with session.ws_connect(url, headers=headers, max_msg_size=MAX_MESSAGE, compress=0) as socket:
                    await self._talk(socket)
        except (OSError, ValueError, aiohttp.ClientError) as error:
            log.warning("comfyui-envmanager: no link to the bridge: %s", error)
        finally:
            self._out = None
            self._pending.close(lost())
            self._on_lost()

    async def _talk(self, socket: Any) -> None:
        self._out = asyncio.Queue()
        self._pending.reopen()
        sender = asyncio.ensure_future(self._write(socket, self._out))
        threading.Thread(target=self._on_connect, name="envmanager-report", daemon=True).start()
        try:
            async for message in socket:
                if isinstance(message.data, str):
                    self._take(json.loads(message.data))
        finally:
            sender.cancel()

    async def _write(self, socket: Any, queue: asyncio.Queue[str]) -> None:
        while True:
            await socket.send_str(await queue.get())

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            self._pending.settle(message)
        elif "id" in message:
            work = self._serves.get(method)
            threading.Thread(target=self._serve, args=(message, work), name="envmanager-serve", daemon=True).start()
        elif method in self._hears:
            self._hears[method](message["params"])

    def _serve(self, message: dict[str, Any], work: Callable[[dict[str, Any]], Any] | None) -> None:
        def run() -> Any:
            if work is None:
                raise CodedError("BAD_REQUEST", f"There is no method {message['method']}.", "Restart ComfyUI.")
            return work(message["params"])

        self._send(answer(message["id"], run))
