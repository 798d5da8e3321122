"""The link to the bridge: a thread with an event loop of its own, since ComfyUI makes a new loop for every prompt.

The link may break while the bridge lives: it is made again, and nothing that was told is lost. Only the end of the bridge's process
ends it.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
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
#: The bridge closes the link of whoever sends more (`bridge/rpc/server.ts`).
LARGEST = 64 << 20
#: The first try to connect again is at once; the later ones wait, up to so many seconds.
LONGEST_PAUSE = 2.0
_CHECK = "link.check"


class Told:
    """Notifications, kept until the other end has certainly had them: what a break has swallowed is told again. Each may come twice."""

    def __init__(self) -> None:
        self._kept: collections.deque[str] = collections.deque()
        self._checking = 0

    def add(self, text: str) -> None:
        """Keep one; safe in a finalizer."""
        self._kept.append(text)

    def all(self) -> list[str]:
        """Everything that may not have come, for a new link."""
        self._checking = 0
        return list(self._kept)

    def to_check(self) -> bool:
        """Whether the other end is to be asked now. What was told until then has come when it answers."""
        if self._checking or not self._kept:
            return False
        self._checking = len(self._kept)
        return True

    def checked(self) -> None:
        """It has answered."""
        for _ in range(min(self._checking, len(self._kept))):
            self._kept.popleft()
        self._checking = 0

    def clear(self) -> None:
        """Whoever it was for is gone."""
        self._kept.clear()
        self._checking = 0


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
        self._told = Told()
        self._pid = os.getpid()
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
        asyncio.run_coroutine_threadsafe(self._keep_linked(self._process.number), self.loop)

    def request(self, method: str, params: dict[str, Any]) -> Future[Any]:
        """Ask; the future fails with a CodedError if there is no bridge, or if it goes."""
        text = dumps(params)
        if len(text) > LARGEST - 1000:
            raise CodedError(
                "VALUE_NOT_PORTABLE", f"{method} takes {len(text) >> 20} MiB as text, and {LARGEST >> 20} MiB can be sent.", "Send less."
            )
        number, future = self._pending.open()
        self._send({"id": number, "method": method, "params": params})
        return future

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Tell the bridge that runs, now or when it is linked again. Safe in a finalizer."""
        if os.getpid() != self._pid:
            return  # a forked child has nothing to say
        text = dumps({"method": method, "params": params})
        if len(text) > LARGEST:
            return log.error("comfyui-envmanager: %s is too large to be told", method)
        self._told.add(text)
        if self._out is not None:
            self.loop.call_soon_threadsafe(self._tell, self._out, text)

    def _tell(self, out: asyncio.Queue[str], text: str) -> None:
        if out is self._out:
            out.put_nowait(text)
            self._check(out)

    def _check(self, out: asyncio.Queue[str]) -> None:
        if not self._told.to_check():
            return
        number, future = self._pending.open()
        future.add_done_callback(lambda done: self.loop.call_soon_threadsafe(self._checked, out, done))
        out.put_nowait(dumps({"id": number, "method": _CHECK, "params": {}}))

    def _checked(self, out: asyncio.Queue[str], done: Future[Any]) -> None:
        if out is self._out and not done.cancelled() and done.exception() is None:
            self._told.checked()
            self._check(out)

    def _send(self, message: dict[str, Any]) -> None:
        if self._out is not None:
            self.loop.call_soon_threadsafe(self._out.put_nowait, dumps(message))

    async def _keep_linked(self, number: int) -> None:
        """Until that bridge's process has ended."""
        pause = 0.0
        try:
            while self._process.is_running(number):
                if await self._link():
                    pause = 0.0
                await asyncio.sleep(pause)
                pause = min(max(0.05, 2 * pause), LONGEST_PAUSE)
        finally:
            self._told.clear()
            self._on_lost()

    async def _link(self) -> bool:
        """One link, to its end. Whether there was one."""
        import aiohttp  # a third of a second that ComfyUI's start does not wait for: it is spent on this thread

        linked = False
        try:
            found = self._process.connection()
            if found["protocol"] != PROTOCOL_VERSION:
                log.error("comfyui-envmanager: the bridge speaks protocol %s, ComfyUI's part %s", found["protocol"], PROTOCOL_VERSION)
                await asyncio.sleep(LONGEST_PAUSE)
                return False
            url = f"http://127.0.0.1:{found['port']}/shim"
            headers = {"Authorization": f"Bearer {found['token']}"}
            # the bridge is on loopback: no proxy of the user's environment stands between
            async with aiohttp.ClientSession(trust_env=False) as session:
                async with session.ws_connect(url, headers=headers, max_msg_size=MAX_MESSAGE, compress=0) as socket:
                    linked = True
                    await self._talk(socket)
        except Exception as error:  # noqa: BLE001 - whatever it is, the bridge lives, and the next link may hold
            log.warning("comfyui-envmanager: no link to the bridge: %s", error)
        finally:
            self._out = None
            self._pending.close(lost())
        return linked

    async def _talk(self, socket: Any) -> None:
        out: asyncio.Queue[str] = asyncio.Queue()
        for text in self._told.all():
            out.put_nowait(text)
        self._out = out
        self._pending.reopen()
        self._check(out)
        sender = asyncio.ensure_future(self._write(socket, out))
        threading.Thread(target=self._connected, name="envmanager-report", daemon=True).start()
        try:
            async for message in socket:
                if isinstance(message.data, str):
                    self._heard(message.data)
        finally:
            sender.cancel()

    def _connected(self) -> None:
        try:
            self._on_connect()
        except Exception:
            log.exception("comfyui-envmanager: the bridge was not told of this ComfyUI")

    async def _write(self, socket: Any, queue: asyncio.Queue[str]) -> None:
        try:
            while True:
                await socket.send_str(await queue.get())
        except Exception as error:  # noqa: BLE001 - what could not be sent is told on the next link
            log.debug("comfyui-envmanager: the link does not take more: %s", error)
            await socket.close()

    def _heard(self, text: str) -> None:
        """One message. Whatever it is, and whatever its hearing raises, the link goes on."""
        try:
            self._take(json.loads(text))
        except Exception:
            log.exception("comfyui-envmanager: a message of the bridge was not understood")

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            self._pending.settle(message)
        elif "id" in message and method == _CHECK:
            self._send({"id": message["id"], "result": {}})
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

        said = answer(message["id"], run)
        if len(dumps(said)) > LARGEST:
            error = CodedError("VALUE_NOT_PORTABLE", f"The answer to {message['method']} is too large to be sent.", "Send less.")
            said = {"id": message["id"], "error": error.wire()}
        self._send(said)
