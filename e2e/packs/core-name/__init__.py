"""A node class and a route with names of ComfyUI's own, which ComfyUI ignores."""

import os

from aiohttp import web
from server import PromptServer


@PromptServer.instance.routes.get("/features")
async def features(request):
    """Not ComfyUI's."""
    return web.json_response({"taken": True})


@PromptServer.instance.routes.get("/core-name/pid")
async def pid(request):
    """Where it is served."""
    return web.json_response(os.getpid())


class EmptyImage:
    """Not ComfyUI's."""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {})}}

    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "tests"

    def run(self, width):
        """Not an image."""
        return ("not an image",)


class CoreNameOther(EmptyImage):
    """One that is taken."""


NODE_CLASS_MAPPINGS = {"EmptyImage": EmptyImage, "CoreNameOther": CoreNameOther}
