"""Serves the real frontend and the routes that it needs to boot, load extensions and run prompts."""

import asyncio
import json
import os
import pathlib
import uuid

import folder_paths
import nodes
from aiohttp import WSMsgType, web
from prompt_queue import PromptQueue
from validation import validate_prompt


def saved_settings():
    """The user's settings, as ComfyUI keeps them on disk."""
    path = pathlib.Path(folder_paths.get_user_directory()) / "default" / "comfy.settings.json"
    return json.loads(path.read_text()) if path.is_file() else {}


#: Routes that newer frontends ask for and that may be empty.
EMPTY = {
    "/api/queue": {"queue_running": [], "queue_pending": []},
    "/api/system_stats": {"system": {"comfyui_version": "test-host", "os": "test", "argv": []}, "devices": []},
    "/api/features": {},
    "/api/i18n": {},
    "/api/workflow_templates": {},
    "/api/embeddings": [],
    "/api/experiment/models": [],
    "/api/userdata": [],
    "/api/global_subgraphs": {},
}
#: What ComfyUI sends with --offline: the browser may talk to this origin only (`server.py` of newer versions).
OFFLINE = (
    "default-src 'self'; connect-src 'self' data:; font-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:"
)


def readable(value):
    """JSON, and what is no data by its own word."""
    return json.dumps(value, default=str)


@web.middleware
async def offline_policy(request, handler):
    """Adds the content policy to every page."""
    response = await handler(request)
    if not isinstance(response, web.WebSocketResponse):
        response.headers.setdefault("Content-Security-Policy", OFFLINE)
    return response


class PromptServer:
    """The part of ComfyUI's PromptServer that packs and the shim use."""

    instance = None

    def __init__(self, loop, frontend, cache="classic", most=0):
        PromptServer.instance = self
        self.loop = loop
        self.app = web.Application(middlewares=[offline_policy])
        self.routes = web.RouteTableDef()
        self.sockets, self.client_id = {}, None
        self.on_prompt_handlers = []
        self.frontend = pathlib.Path(frontend)
        self.settings = saved_settings()
        self.last_node_id = None
        self.number = 0
        self.prompt_queue = PromptQueue(self, cache, most)

    def send_sync(self, event, data, sid=None):
        """Any thread: send an event to the browser."""
        self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._send(event, data, sid)))

    def add_on_prompt_handler(self, handler):
        """Handlers may look at and change what is to be queued."""
        self.on_prompt_handlers.append(handler)

    def send_progress_text(self, text, node_id, sid=None):
        """Show text on a node."""
        self.send_sync("progress_text", {"node": node_id, "text": text}, sid)

    async def _send(self, event, data, sid):
        for client, socket in list(self.sockets.items()):
            if sid in (None, client) and not socket.closed:
                await socket.send_str(json.dumps({"type": event, "data": data}))

    def add_routes(self):
        """Ours, after them those that packs have added (under /api too, as in ComfyUI), and the files."""
        router = self.app.router
        router.add_get("/ws", self.ws)
        router.add_get("/api/ws", self.ws)
        for path, value in EMPTY.items():
            router.add_get(path, lambda request, value=value: web.json_response(value))
        router.add_get("/api/users", lambda request: web.json_response({"storage": "server", "migrated": True}))
        router.add_get("/api/settings", lambda request: web.json_response(self.settings))
        router.add_post("/api/settings", self.save_settings)
        router.add_post("/api/settings/{id}", self.save_setting)
        router.add_get("/api/extensions", self.extensions)
        router.add_get("/api/object_info", lambda request: web.json_response(self.object_info()))
        router.add_post("/api/prompt", self.prompt)
        router.add_post("/api/interrupt", self.interrupt)
        router.add_post("/api/free", self.free)
        router.add_get("/api/history", lambda request: web.json_response(self.prompt_queue.history, dumps=readable))
        router.add_get("/api/history/{id}", self.history)
        router.add_post("/api/history", self.forget_history)
        router.add_get("/api/view", self.view)
        for route in list(self.routes):
            if isinstance(route, web.RouteDef):
                self.app.router.add_route(route.method, "/api" + route.path, route.handler, **route.kwargs)
        self.app.add_routes(self.routes)
        for name, folder in nodes.EXTENSION_WEB_DIRS.items():
            router.add_static(f"/extensions/{name}", folder)
        router.add_get("/", lambda request: web.FileResponse(self.frontend / "index.html"))
        router.add_static("/", self.frontend)

    async def save_settings(self, request):
        """All settings at once."""
        self.settings.update(await request.json())
        return web.Response(status=200)

    async def save_setting(self, request):
        """One setting."""
        self.settings[request.match_info["id"]] = await request.json()
        return web.Response(status=200)

    async def extensions(self, request):
        """Every script below the frontend's and the packs' web folders."""
        found = [f"/extensions/{path.relative_to(self.frontend / 'extensions')}" for path in (self.frontend / "extensions").rglob("*.js")]
        for name, folder in nodes.EXTENSION_WEB_DIRS.items():
            found += [f"/extensions/{name}/{path.relative_to(folder)}" for path in pathlib.Path(folder).rglob("*.js")]
        return web.json_response(found)

    def object_info(self):
        """What the frontend knows of each node class."""
        return {name: self._describe(name, cls) for name, cls in nodes.NODE_CLASS_MAPPINGS.items()}

    def _describe(self, name, cls):
        inputs = cls.INPUT_TYPES()
        returns = list(cls.RETURN_TYPES)
        return {
            "input": inputs,
            "input_order": {section: list(entries) for section, entries in inputs.items()},
            "output": returns,
            "output_is_list": list(getattr(cls, "OUTPUT_IS_LIST", [False] * len(returns))),
            "output_name": list(getattr(cls, "RETURN_NAMES", returns)),
            "name": name,
            "display_name": nodes.NODE_DISPLAY_NAME_MAPPINGS.get(name, name),
            "description": getattr(cls, "DESCRIPTION", ""),
            "python_module": getattr(cls, "RELATIVE_PYTHON_MODULE", "nodes"),
            "category": getattr(cls, "CATEGORY", "sd"),
            "output_node": getattr(cls, "OUTPUT_NODE", False),
        }

    async def prompt(self, request):
        """Queue a prompt."""
        body = await request.json()
        for handler in self.on_prompt_handlers:
            body = handler(body)
        prompt_id = str(body.get("prompt_id", uuid.uuid4()))
        error, outputs, bad = await validate_prompt(prompt_id, body["prompt"])
        if error is not None:
            return web.json_response({"error": error, "node_errors": bad}, status=400)
        extra = {**body.get("extra_data", {}), "client_id": body.get("client_id")}
        self.number += 1
        self.prompt_queue.put((self.number, prompt_id, body["prompt"], extra, outputs))
        return web.json_response({"prompt_id": prompt_id, "number": self.number, "node_errors": bad})

    async def interrupt(self, request):
        """The Cancel button: of one prompt if that is named and runs."""
        import comfy.model_management

        wanted = json.loads(await request.text() or "{}").get("prompt_id")
        if not wanted or any(item[1] == wanted for item in list(self.prompt_queue.currently_running.values())):
            comfy.model_management.interrupt_current_processing()
        return web.Response(status=200)

    async def free(self, request):
        """The Unload button: as soon as no prompt runs."""
        wanted = json.loads(await request.text() or "{}")
        for name in ("unload_models", "free_memory"):
            if wanted.get(name, name == "unload_models"):
                self.prompt_queue.set_flag(name, True)
        return web.Response(status=200)

    async def history(self, request):
        """One prompt's outputs and status."""
        number = request.match_info["id"]
        found = self.prompt_queue.history.get(number)
        return web.json_response({number: found} if found else {}, dumps=readable)

    async def forget_history(self, request):
        """The button that clears it."""
        if (await request.json()).get("clear"):
            self.prompt_queue.history.clear()
        return web.Response(status=200)

    async def view(self, request):
        """An output file."""
        folder = getattr(folder_paths, f"get_{request.query.get('type', 'output')}_directory")()
        return web.FileResponse(os.path.join(folder, os.path.basename(request.query["filename"])))

    async def ws(self, request):
        """A browser's event stream."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId") or uuid.uuid4().hex
        self.sockets[client] = socket
        await self._send("status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client}, client)
        async for message in socket:
            if message.type == WSMsgType.TEXT and json.loads(message.data).get("type") == "feature_flags":
                await self._send("feature_flags", {"supports_preview_metadata": False}, client)
        self.sockets.pop(client, None)
        return socket
