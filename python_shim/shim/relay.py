"""The panel's WebSocket on ComfyUI's own origin, passed on to the bridge.

The browser never talks to the bridge's port: it works remotely, behind a proxy, and under ComfyUI's offline policy, which
blocks every other port.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from typing import Any

import aiohttp
from aiohttp import web

from . import places
from .bridge_process import BridgeProcess

ROUTE = "/envmanager/ws"
LARGEST = 1 << 20
#: The bridge's answer when it serves as many panels as it can (`bridge/rpc/server.ts`), and how long one waits before it asks again.
_FULL, FULL_SECONDS = 503, 5.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _listens_beyond() -> bool:
    """Whether ComfyUI was told to listen on more than this computer (`comfy/cli_args.py`, --listen)."""
    try:
        from comfy.cli_args import args  # type: ignore[import-not-found]
    except ImportError:
        return False
    listen = str(getattr(args, "listen", "127.0.0.1") or "127.0.0.1")
    return not all(part.strip() in _LOOPBACK for part in listen.split(","))


def refusal(host: str | None, origin: str | None, beyond: bool) -> str | None:
    """Why a WebSocket may not be opened; None if it may.

    The page's origin must be the address it was asked at. On a ComfyUI that listens on this computer only, that address must be
    this computer's: a name that an attacker's DNS points here is none of them.
    """
    if not host or not origin:
        return "a browser sends Host and Origin"
    if origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return "the page is not ComfyUI's own"
    if not beyond and urllib.parse.urlsplit(f"//{host}").hostname not in _LOOPBACK:
        return "the address is not this computer's"
    return None


class Relay:
    """Serves the route, and tells panels how the bridge is when there is none to tell them."""

    def __init__(self, process: BridgeProcess) -> None:
        self._process = process
        self._panels: set[web.WebSocketResponse] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _notice(self) -> str:
        return _notice(*self._process.status)

    def status_changed(self) -> None:
        """Any thread: tell every panel."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._tell(), self._loop)

    async def _tell(self) -> None:
        for panel in list(self._panels):
            if not panel.closed:
                await panel.send_str(self._notice())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One panel, from its opening to its end."""
        beyond = _listens_beyond()
        hosts = request.headers.getall("Host", [])
        why = refusal(hosts[0] if len(hosts) == 1 else None, request.headers.get("Origin"), beyond)
        if why is not None:
            return web.Response(status=403, text=f"comfyui-envmanager refuses this: {why}.")
        self._loop = asyncio.get_running_loop()
        panel = web.WebSocketResponse(max_msg_size=LARGEST, heartbeat=30)
        await panel.prepare(request)
        self._panels.add(panel)
        try:
            await panel.send_str(self._notice())
            role = "viewer" if beyond and not (places.home() / "allow-remote").exists() else "panel"
            await self._pass_on(panel, role)
        finally:
            self._panels.discard(panel)
        return panel

    async def _pass_on(self, panel: web.WebSocketResponse, role: str) -> None:
        """Connect the panel to the bridge. Without a bridge it stays open to hear why, and is closed when one is ready."""
        if self._process.status[0] != "running":
            while not panel.closed and self._process.status[0] != "running":
                await self._wait_for_close(panel, 0.5)
            await panel.close()
            return
        try:
            found = self._process.connection()
            url = f"http://127.0.0.1:{found['port']}/{role}"
            headers = {"Authorization": f"Bearer {found['token']}"}
            async with aiohttp.ClientSession(trust_env=False) as session:
                async with session.ws_connect(url, headers=headers, max_msg_size=64 * LARGEST) as bridge:
                    await _both_ways(panel, bridge)
        except aiohttp.WSServerHandshakeError as error:
            if error.status == _FULL:
                await panel.send_str(_notice("failed", "Too many tabs show the panel.", "Close some: this one goes on by itself."))
                await self._wait_for_close(panel, FULL_SECONDS)
        except (OSError, ValueError, aiohttp.ClientError):
            pass  # the panel reconnects by itself
        await panel.close()

    async def _wait_for_close(self, panel: web.WebSocketResponse, seconds: float) -> None:
        try:
            await panel.receive(timeout=seconds)
        except asyncio.TimeoutError:
            pass


def _notice(status: str, message: str, hint: str) -> str:
    return json.dumps({"method": "shim.status", "params": {"status": status, "message": message, "hint": hint}})


async def _both_ways(panel: Any, bridge: Any) -> None:
    async def pump(source: Any, target: Any) -> None:
        async for message in source:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            await target.send_str(message.data)

    pumps = [asyncio.ensure_future(pump(panel, bridge)), asyncio.ensure_future(pump(bridge, panel))]
    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    for task in pumps:
        task.cancel()
