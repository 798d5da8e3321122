"""The stand-in for ComfyUI's module `server`: what a pack declares on it is kept, and served by `side.py`."""

from __future__ import annotations

import importlib
import json
import os
import re
import struct
import sys
import types
from typing import Any

from . import server_names

#: `protocol.py` of ComfyUI.
_BINARY = {"PREVIEW_IMAGE": 1, "UNENCODED_PREVIEW_IMAGE": 2, "TEXT": 3, "PREVIEW_IMAGE_WITH_METADATA": 4}


class PromptServer:
    """What packs use of ComfyUI's `server.PromptServer`. A plain object: packs set attributes of their own on it."""

    instance: PromptServer
    #: The folder of ComfyUI's own web files, once ComfyUI's process has told it.
    web_root: str

    def __init__(self, progress: Any, web: Any) -> None:
        self.routes = _NoRoutes() if web is None else web.RouteTableDef()
        self.app = None if web is None else web.Application()
        self._loop: Any = None
        self.client_id: str | None = None
        self.last_node_id: str | None = None
        self.last_prompt_id: str | None = None
        self.number = 0
        self.sockets: dict[str, Any] = {}
        self.sockets_metadata: dict[str, Any] = {}
        self.supports = ["custom_nodes_from_web"]
        self.on_prompt_handlers: list[Any] = []
        self.prompt_queue = server_names.queue()
        self._progress = progress

    #: Starts the loop of `side.py`.
    start_loop: Any = None

    def __getattr__(self, name: str) -> Any:
        return server_names.of_server(self, name)

    @property
    def loop(self) -> Any:
        """A loop that runs, as the web server's does: started when a pack asks for it."""
        if self._loop is None and PromptServer.start_loop is not None:
            self._loop = PromptServer.start_loop()
        return self._loop

    @loop.setter
    def loop(self, loop: Any) -> None:
        self._loop = loop

    def add_on_prompt_handler(self, handler: Any) -> None:
        """Called with every prompt before it is queued, through the host."""
        self.on_prompt_handlers.append(handler)

    def send_sync(self, event: Any, data: Any, sid: Any = None) -> None:
        """Send an event to the browser, through the host."""
        self._progress.event(event, data, sid)

    async def send(self, event: Any, data: Any, sid: Any = None) -> None:
        """As send_sync, for async callers."""
        self.send_sync(event, data, sid)

    async def send_json(self, event: Any, data: Any, sid: Any = None) -> None:
        """As send_sync, for async callers."""
        self.send_sync(event, data, sid)

    async def send_bytes(self, event: Any, data: Any, sid: Any = None) -> None:
        """A binary event: `event` is its number."""
        self.encode_bytes(event, b"")
        self.send_sync(event, data, sid)

    async def send_image(self, image_data: Any, sid: Any = None) -> None:
        """A preview: format, PIL image and the largest side in pixels, or None."""
        self.send_sync(_BINARY["UNENCODED_PREVIEW_IMAGE"], image_data, sid)

    async def send_image_with_metadata(self, image_data: Any, metadata: Any = None, sid: Any = None) -> None:
        """The same with what it is a preview of."""
        self.send_sync(_BINARY["PREVIEW_IMAGE_WITH_METADATA"], (image_data, metadata), sid)

    def encode_bytes(self, event: Any, data: Any) -> bytearray:
        """A binary event as it goes to the browser (`server.py`)."""
        if not isinstance(event, int):
            raise RuntimeError(f"Binary event types must be integers, got {event}")
        return bytearray(struct.pack(">I", event)) + data

    def send_progress_text(self, text: str, node_id: str, sid: Any = None) -> None:
        """Show text on the running node."""
        self._progress.text(str(text), sid)


class _NoRoutes:
    """Without aiohttp nothing can be served; what is declared is dropped."""

    def __getattr__(self, method: str) -> Any:
        if method not in ("get", "post", "put", "delete", "patch", "head", "options", "view", "static", "route"):
            raise AttributeError(method)
        return lambda *args, **kwargs: lambda handler: handler


def make_module(root: str, progress: Any) -> types.ModuleType:
    """A module `server` whose file and class names answer `inspect.getfile` as the real one's do."""
    try:
        web: Any = importlib.import_module("aiohttp.web")
    except ImportError:
        web = None
    module: Any = types.ModuleType("server")
    module.__file__ = os.path.join(root, "server.py")
    PromptServer.__module__ = "server"
    PromptServer.instance = PromptServer(progress, web)
    module.PromptServer = PromptServer
    module.BinaryEventTypes = types.SimpleNamespace(**_BINARY)
    module.uuid = importlib.import_module("uuid")
    if web is not None:
        module.web = web
    module.__getattr__ = server_names.of_module(root)
    return module


def show_call(call: dict[str, Any]) -> None:
    """What `PromptServer.instance` says of the node that runs, as ComfyUI's executor sets it. Without `client_id` many send nothing."""
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if isinstance(server, PromptServer):
        server.client_id, server.last_prompt_id, server.last_node_id = call.get("client"), call["prompt"], call["node"]


def replacements(server: PromptServer) -> list[str]:
    """The node replacements that packs have registered so far, as JSON."""
    manager = vars(server).get("node_replace_manager")
    return [json.dumps(one) for one in manager.registered] if isinstance(manager, server_names.Replacements) else []


def application(server: PromptServer) -> Any:
    """An aiohttp application with everything that packs have declared so far; None if that is nothing."""
    if server.app is None:
        return None
    web = importlib.import_module("aiohttp.web")
    made = web.Application(client_max_size=1 << 30)
    for resource in server.app.router.resources():
        made.router.register_resource(resource)
    made.add_routes(server.routes)
    return made if len(made.router.resources()) else None


def patterns(app: Any) -> list[dict[str, str]]:
    """Every route as a method and a regular expression of the whole path."""
    found = []
    for resource in app.router.resources():
        info = resource.get_info()
        if "prefix" in info:
            pattern = re.escape(info["prefix"]) + "(?:/.*)?"
        else:
            pattern = info["pattern"].pattern if "pattern" in info else re.escape(info["path"])
        found += [{"method": route.method, "pattern": pattern} for route in resource]
    return found
