"""What the pack adds to ComfyUI's web server, where there is one."""

import os
import sys

_server = getattr(sys.modules.get("server"), "PromptServer", None)
if _server is not None and getattr(_server, "instance", None) is not None:
    from aiohttp import web

    @_server.instance.routes.get("/trouble/{name}")
    async def trouble_get(request):
        said = {"name": request.match_info["name"], "query": dict(request.query), "pid": os.getpid()}
        return web.json_response(said, headers={"X-Trouble": "1"})

    @_server.instance.routes.post("/trouble/{name}")
    async def trouble_post(request):
        return web.Response(body=(await request.read())[::-1], status=201)

    @_server.instance.routes.get("/trouble/live/{name}")
    async def trouble_live(request):
        """Says every message back, and closes when it is told to."""
        socket = web.WebSocketResponse(protocols=("shout",))
        await socket.prepare(request)
        async for message in socket:
            if message.data == "close":
                await socket.close(code=4000)
            elif isinstance(message.data, bytes):
                await socket.send_bytes(message.data[::-1])
            else:
                await socket.send_str(f"{request.match_info['name']} {os.getpid()} {message.data.upper()}")
        return socket

    if hasattr(_server.instance, "add_on_prompt_handler"):

        def rewrite(data):
            """Numbers below zero are chosen anew, as packs with seeds do."""
            for entry in data.get("prompt", {}).values():
                if entry.get("inputs", {}).get("number") == -1:
                    entry["inputs"]["number"] = os.getpid()
            return data

        _server.instance.add_on_prompt_handler(rewrite)
