"""Makes ComfyUI's own modules importable in a worker: the real ones, except `server`, which needs a web server.

Order and reasons follow ComfyUI's `main.py`; what the stand-in for `server` must offer was found by loading popular packs.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import Any


def install(folders: dict[str, Any], runner: Any) -> None:
    """Prepare sys.path, sys.argv, `folder_paths` and `server`. `folders` is the `HostFolders` of the schemas."""
    root = folders["root"]
    if not os.path.isdir(root):
        return
    sys.argv = ["main.py", *folders["argv"]]
    sys.path.insert(0, root)
    if os.path.isfile(os.path.join(root, "comfy", "options.py")):
        importlib.import_module("comfy.options").enable_args_parsing()  # before anything reads comfy.cli_args
        if os.path.isfile(os.path.join(root, "utils", "extra_config.py")):
            # before `nodes`, which puts ROOT/comfy first on sys.path, where `utils` is another module
            importlib.import_module("utils.extra_config")
    _set_folders(folders)
    sys.modules["server"] = _server_module(root, runner)


def _set_folders(folders: dict[str, Any]) -> None:
    """Give `folder_paths` the host's folders, so that file lists and outputs are the same in both processes."""
    try:
        paths = importlib.import_module("folder_paths")
    except ImportError:
        return
    setters = {
        "output": "set_output_directory",
        "input": "set_input_directory",
        "temp": "set_temp_directory",
        "user": "set_user_directory",
    }
    for key, setter in setters.items():
        if hasattr(paths, setter):
            getattr(paths, setter)(folders[key])
    known = getattr(paths, "folder_names_and_paths", None)
    if known is not None:
        for name, entry in folders["models"].items():
            known[name] = (list(entry["paths"]), set(entry["extensions"]))


class _Routes:
    """A decorator table like aiohttp's; what is declared is kept and not served."""

    def __init__(self) -> None:
        self.declared: list[tuple[str, str]] = []

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method not in ("get", "post", "put", "delete", "patch", "head", "options", "view", "static", "route"):
            raise AttributeError(method)

        def declare(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
            self.declared.append((method, str(args[0]) if args else ""))
            return lambda handler: handler

        return declare


class PromptServer:
    """What packs use of ComfyUI's `server.PromptServer`. A plain object: packs set attributes of their own on it."""

    instance: PromptServer

    def __init__(self, runner: Any) -> None:
        self.routes = _Routes()
        self.app = _web_application()
        self.client_id = None
        self.last_node_id = None
        self.last_prompt_id = None
        self.number = 0
        self.sockets_metadata: dict[str, Any] = {}
        self.supports = ["custom_nodes_from_web"]
        self.on_prompt_handlers: list[Any] = []
        self.prompt_queue = types.SimpleNamespace(currently_running={}, queue=[], history={}, put=lambda item: None)
        self._runner = runner

    def add_on_prompt_handler(self, handler: Any) -> None:
        """Kept, not called: the host's prompts do not pass here."""
        self.on_prompt_handlers.append(handler)

    def send_sync(self, event: str, data: Any, sid: Any = None) -> None:
        """Send an event to the browser, through the host."""
        self._runner.host_event(str(event), data)

    async def send(self, event: str, data: Any, sid: Any = None) -> None:
        """As send_sync, for async callers."""
        self.send_sync(event, data, sid)

    def send_progress_text(self, text: str, node_id: str, sid: Any = None) -> None:
        """Show text on the running node."""
        self._runner.host_event("progress_text", str(text), text=True)


def _web_application() -> Any:
    try:
        from aiohttp import web
    except ImportError:
        return None
    return web.Application()


def _server_module(root: str, runner: Any) -> types.ModuleType:
    """A module `server` whose file and class names answer `inspect.getfile` as the real one's do."""
    module: Any = types.ModuleType("server")
    module.__file__ = os.path.join(root, "server.py")
    PromptServer.__module__ = "server"
    PromptServer.instance = PromptServer(runner)
    module.PromptServer = PromptServer
    kinds = {"PREVIEW_IMAGE": 1, "UNENCODED_PREVIEW_IMAGE": 2, "TEXT": 3, "PREVIEW_IMAGE_WITH_METADATA": 4}
    module.BinaryEventTypes = types.SimpleNamespace(**kinds)
    module.uuid = importlib.import_module("uuid")
    if module.PromptServer.instance.app is not None:
        module.web = importlib.import_module("aiohttp.web")
    return module
