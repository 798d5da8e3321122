"""What an isolated pack adds to ComfyUI's web server: its HTTP routes, its files for the browser, its prompt handlers, and choices
that change. One middleware, because ComfyUI's own routes are fixed once it serves, and packs are switched at any time.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

from . import log
from .choices import PROPERTY, refusal
from .first_loads import FirstLoads, Held
from .prompt_answers import explained, refused
from .prompts import Prompts
from .registry import Registry

#: Headers that belong to one connection and not to the message (RFC 9110, section 7.6.1).
_HOP = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade content-length host".split()
)
#: Refresh waits this long for a busy worker's lists, a prompt so long for its handlers; then ComfyUI goes on with what it has. Seconds.
LIST_SECONDS, PROMPT_SECONDS = 3.0, 10.0


class HostWeb:
    """Handles requests that are for isolated packs, and lets all others pass."""

    def __init__(self, client: Any, registry: Registry, first_loads: FirstLoads, prompts: Prompts) -> None:
        self._client, self._registry, self._first_loads, self._prompts = client, registry, first_loads, prompts
        self._patterns: dict[str, re.Pattern[str]] = {}

    def middleware(self) -> Any:
        """For `PromptServer.instance.app.middlewares`."""

        @web.middleware
        async def isolated_packs(request: web.Request, handler: Any) -> web.StreamResponse:
            path = "/" + request.path.removeprefix("/api/") if request.path.startswith("/api/") else request.path
            if path == "/prompt" and request.method == "POST":
                odd = await _odd_choices(request)
                if odd is not None:
                    return refused("invalid_prompt", odd, {})
                try:
                    await self._handle_prompt(request)
                except Held as held:
                    return refused("prompt_cancelled", str(held), {"packs": held.packs})
                return explained(await handler(request), self._registry.not_loaded())
            elif path in ("/interrupt", "/queue") and request.method == "POST":
                await self._handle_cancel(path, request)
            elif path == "/object_info" and request.method == "GET":
                await self._list_anew()
            elif path.startswith("/extensions/"):
                found = self._file(path)
                if found is not None:
                    return web.FileResponse(found)
            else:
                pack = self._pack_of(request.method, path)
                if pack is not None and not _is_anothers(request, self._registry.folder_of(pack)):
                    return await self._pass_on(pack, path, request)
            return await handler(request)

        return isolated_packs

    def _pack_of(self, method: str, path: str) -> str | None:
        for pack, entry in self._registry.web().items():
            for route in entry["routes"]:
                pattern = self._patterns.setdefault(route["pattern"], re.compile(route["pattern"]))
                if route["method"] in ("*", method) and pattern.fullmatch(path):
                    return pack
        return None

    def _file(self, path: str) -> str | None:
        """A file for the browser of a pack that was switched after ComfyUI's own static folders were fixed."""
        _, _, name, *rest = path.split("/")
        folder = getattr(sys.modules.get("nodes"), "EXTENSION_WEB_DIRS", {}).get(name)
        if folder is None or self._registry.web_folders.pack_of(name) not in self._registry.proxied():
            return None
        root = os.path.realpath(folder)
        found = os.path.realpath(os.path.join(root, *rest))
        return found if found.startswith(root + os.sep) and os.path.isfile(found) else None

    async def _ask(self, method: str, params: dict[str, Any], seconds: float) -> Any:
        return await asyncio.wait_for(asyncio.wrap_future(self._client.request(method, params)), seconds)

    async def _list_anew(self) -> None:
        """Before ComfyUI tells the browser its node classes: what warm workers say of theirs now."""

        async def one(pack: str) -> None:
            try:
                report = await self._ask("pack.describe", {"pack": pack}, LIST_SECONDS)
                if report is not None:
                    self._registry.updated(report)
            except Exception as error:  # noqa: BLE001 - the last lists will do
                log.debug("comfyui-envmanager: %s was not listed anew: %s", pack, error)

        await asyncio.gather(*(one(pack) for pack in self._registry.proxied()))

    async def _handle_prompt(self, request: web.Request) -> None:
        """Let the isolated packs' handlers have the prompt before ComfyUI's own."""
        prompt = await self._held(request)
        packs = [pack for pack, entry in self._registry.web().items() if entry["prompt_handlers"]]
        if not packs:
            return
        try:
            prompt = prompt or await request.json()
        except ValueError:
            return  # ComfyUI says what is wrong with it
        for pack in packs:
            try:
                asked = {"pack": pack, "prompt": json.dumps(prompt)}
                prompt = json.loads((await self._ask("prompt.handle", asked, PROMPT_SECONDS))["prompt"])
            except Exception as error:  # noqa: BLE001 - the prompt runs without it, as with a handler that raises
                log.warning("comfyui-envmanager: the prompt did not pass the handlers of %s: %s", pack, error)
        request._read_bytes = json.dumps(prompt).encode()  # what `request.json()` reads from now on

    async def _held(self, request: web.Request) -> Any:
        """The prompt of a request, which waits while one of its node classes may still come; None if none is to come. Raises Held."""
        if not self._first_loads.are_under_way:
            return None
        body = await _json(request)
        nodes = body.get("prompt")
        classes = [node.get("class_type") for node in nodes.values() if isinstance(node, dict)] if isinstance(nodes, dict) else []
        browser = body.get("client_id")
        named = {str(name) for name in classes if isinstance(name, str)}
        await self._first_loads.hold(named, _text(body.get("prompt_id")), _text(browser))
        return body

    async def _handle_cancel(self, path: str, request: web.Request) -> None:
        """Cancel prompts that wait, as ComfyUI does with those that run or are queued. One that runs is the one that Cancel is about."""
        if not self._first_loads.are_under_way:
            return
        body = await _json(request)
        if path == "/queue":
            deleted = body.get("delete")
            self._first_loads.cancel(None if body.get("clear") else map(str, deleted) if isinstance(deleted, list) else ())
        elif body.get("prompt_id"):
            self._first_loads.cancel([str(body["prompt_id"])])
        elif not self._prompts.running:
            self._first_loads.cancel(None)

    async def _address(self, pack: str) -> tuple[Any, str, dict[str, str]]:
        """Connector, base address and headers for a pack's worker, which is started if need be."""
        place = self._registry.web()[pack]["web_socket"]
        if place is None:
            report = await asyncio.wrap_future(self._client.request("pack.load", {"pack": pack}))
            self._registry.offered(report)
            place = report["web_socket"]
        if place is None:
            raise OSError("its worker serves nothing")
        if place.startswith("tcp:"):
            _, port, key = place.split(":")
            return aiohttp.TCPConnector(), f"http://127.0.0.1:{port}", {"X-Envmanager-Key": key}
        return aiohttp.UnixConnector(place), "http://worker", {}

    async def _pass_on(self, pack: str, path: str, request: web.Request) -> web.StreamResponse:
        """One request to the pack's worker and its answer back, as streams."""
        address = _address_of(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        for last in (False, True):
            try:
                connector, base, more = await self._address(pack)
                async with aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False) as session:
                    if web.WebSocketResponse().can_prepare(request):
                        return await _talk(session, URL(f"{base}{address}", encoded=True), {**headers, **more}, request)
                    body = request.content if request.can_read_body else None
                    ask = session.request(
                        request.method,
                        URL(f"{base}{address}", encoded=True),
                        headers={**headers, **more},
                        data=body,
                        allow_redirects=False,
                        timeout=_PATIENT,
                    )
                    async with ask as answer:
                        return await _copy(answer, request)
            except aiohttp.ClientConnectorError:
                # the worker that served there has ended, and nothing was sent
                self._registry.web().get(pack, {})["web_socket"] = None
                if last:
                    raise web.HTTPBadGateway(text=f"The worker of {pack} does not answer.") from None
            except (OSError, Exception) as error:
                if isinstance(error, web.HTTPException):
                    raise
                log.warning("comfyui-envmanager: %s of %s: %s", path, pack, error)
                raise web.HTTPBadGateway(text=f"The worker of {pack} could not serve this: {error}") from error
        raise AssertionError


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


async def _json(request: web.Request) -> dict[str, Any]:
    """What a request holds, which ComfyUI reads once more; nothing if that is no object: ComfyUI says what is wrong with it."""
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _odd_choices(request: web.Request) -> str | None:
    """What is wrong with the choices of nodes in a prompt. Few have any, and reading a large one twice takes its time."""
    return refusal(await _json(request)) if PROPERTY.encode() in await request.read() else None


def _address_of(request: web.Request) -> str:
    """Path and query as the browser wrote them, without ComfyUI's `/api`: the worker decodes them, once."""
    raw = request.rel_url.raw_path_qs
    first, _, rest = raw[1:].partition("/")
    return f"/{rest}" if unquote(first) == "api" and request.path.startswith("/api/") else raw


def _is_anothers(request: web.Request, folder: str | None) -> bool:
    """Whether ComfyUI itself or another pack serves this path: an isolated pack's routes come after theirs, as when ComfyUI loads it. Its
    own, from before it was isolated, do not count, and neither does ComfyUI's folder of web files, which takes every path."""
    route = request.match_info.route
    if request.match_info.http_exception is not None or isinstance(route.resource, web.StaticResource):
        return False
    file = getattr(sys.modules.get(getattr(request.match_info.handler, "__module__", "")), "__file__", None) or ""
    return folder is None or not os.path.realpath(file).startswith(os.path.realpath(folder) + os.sep)


_PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=10)


async def _copy(answer: aiohttp.ClientResponse, request: web.Request) -> web.StreamResponse:
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in headers:
        response.headers.add(name, value)
    await response.prepare(request)
    async for chunk in answer.content.iter_chunked(1 << 16):
        await response.write(chunk)
    await response.write_eof()
    return response


async def _talk(session: aiohttp.ClientSession, url: URL, headers: dict[str, str], request: web.Request) -> web.WebSocketResponse:
    """A WebSocket route: messages both ways until one side closes."""
    handshake = {name: value for name, value in headers.items() if not name.lower().startswith("sec-websocket-")}
    protocols = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if part.strip()]
    async with session.ws_connect(url, headers=handshake, protocols=protocols, max_msg_size=0) as theirs:
        ours = web.WebSocketResponse(protocols=[theirs.protocol] if theirs.protocol else (), max_msg_size=0)
        await ours.prepare(request)
        ways = [asyncio.create_task(_pump(ours, theirs)), asyncio.create_task(_pump(theirs, ours))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
        await theirs.close(code=ours.close_code or 1000)
        await ours.close(code=theirs.close_code or 1000)
        return ours


async def _pump(source: Any, target: Any) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
