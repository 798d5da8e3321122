"""What ComfyUI's module `server` and its one `PromptServer` have beside what nodes and routes mostly use (`host_server.py`).

It is made when a pack first asks for it, from ComfyUI's own files. What only the process with the web server has is an error when it is
used, and not before: packs keep references to it that they never use.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import importlib
import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import Any

#: Objects of ComfyUI that work on the folders alone, which a worker shares: by attribute, their module and class.
_OWN = {
    "model_file_manager": ("app.model_manager", "ModelFileManager"),
    "custom_node_manager": ("app.custom_node_manager", "CustomNodeManager"),
    "subgraph_manager": ("app.subgraph_manager", "SubgraphManager"),
}
#: Methods of the running web server.
_SERVER_ONLY = frozenset(
    ("add_routes", "get_queue_info", "publish_loop", "queue_updated", "setup", "start", "start_multi_address", "trigger_on_prompt")
)
_QUEUE_DATA = frozenset(("server", "mutex", "not_empty", "task_counter", "queue", "currently_running", "history", "flags"))
#: Opens ComfyUI's database, which only one process may have open.
_DATABASE = "app.assets"


def unreachable(what: str) -> RuntimeError:
    """What a pack is told that uses something of ComfyUI's process."""
    return RuntimeError(f"{what} cannot be reached from an isolated node. Run this node inside ComfyUI: switch its isolation off.")


class Unreachable:
    """Stands for an object or a function of ComfyUI's process: packs may keep it; what they do with it is an error."""

    def __init__(self, what: str, data: frozenset[str] = frozenset()) -> None:
        """`data`: attributes that are no functions, and an error when they are read."""
        self._what, self._data = what, data

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Always raises."""
        raise unreachable(self._what)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._data:
            raise unreachable(f"{self._what} ({name})")
        return Unreachable(f"{self._what} ({name})")


def queue() -> Unreachable:
    """Stands for `PromptServer.prompt_queue` (`execution.PromptQueue`)."""
    return Unreachable("ComfyUI's queue", _QUEUE_DATA)


class Messages:
    """`PromptServer.messages`: what is put there goes to the browser."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send

    def put_nowait(self, message: tuple[Any, Any, Any]) -> None:
        """Event, data and client, as `publish_loop` takes them."""
        self._send(*message)

    async def put(self, message: tuple[Any, Any, Any]) -> None:
        """As put_nowait."""
        self._send(*message)

    def __getattr__(self, name: str) -> Any:
        return getattr(Unreachable("PromptServer.instance.messages"), name)


class Replacements:
    """`PromptServer.node_replace_manager`: ComfyUI registers what is registered here too (`LoadedPack`)."""

    def __init__(self) -> None:
        self.registered: list[dict[str, Any]] = []

    def register(self, node_replace: Any) -> None:
        """As ComfyUI's (`app/node_replace_manager.py`): a second one for the same two names is ignored."""
        made = node_replace.as_dict()
        if all((made["old_node_id"], made["new_node_id"]) != (one["old_node_id"], one["new_node_id"]) for one in self.registered):
            self.registered.append(made)

    def __getattr__(self, name: str) -> Any:
        return getattr(Unreachable("PromptServer.instance.node_replace_manager"), name)


def of_server(server: Any, name: str) -> Any:
    """An attribute of `PromptServer.instance` that is not there yet. Raises AttributeError for what ComfyUI's has neither."""
    if name in _SERVER_ONLY:
        return Unreachable(f"PromptServer.instance.{name}")
    if name == "user_manager":  # made each time: with several users, ComfyUI writes new ones to its file at any time
        return _class_of("app.user_manager", "UserManager")()
    if name in ("port", "address"):  # `main.py` starts the web server on the first of them
        args = importlib.import_module("comfy.cli_args").args
        return args.port if name == "port" else args.listen.split(",")[0]
    made: Any
    if name == "internal_routes":
        made = Unreachable("PromptServer.instance.internal_routes")
    elif name == "messages":
        made = Messages(server.send_sync)
    elif name == "client_session":
        made = _client_session(server)
    elif name == "node_replace_manager":
        _class_of("app.node_replace_manager", "NodeReplaceManager")
        made = Replacements()
    elif name in _OWN:
        made = _class_of(*_OWN[name])()
    else:
        raise AttributeError(f"'PromptServer' object has no attribute {name!r}")
    setattr(server, name, made)
    return made


def _class_of(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:  # an older ComfyUI, or an env without what this module needs
        raise AttributeError(f"PromptServer.instance has none here: {error}") from error


def _client_session(server: Any) -> Any:
    aiohttp = importlib.import_module("aiohttp")

    async def make() -> Any:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))

    return asyncio.run_coroutine_threadsafe(make(), server.loop).result(10)


def of_module(root: str) -> Callable[[str], Any]:
    """`__getattr__` for the stand-in of the module `server`: its other names, as ComfyUI's own `server.py` in `root` has them."""
    file = os.path.join(root, "server.py")

    @functools.cache
    def imported() -> dict[str, tuple[str, str | None]]:
        """Module and attribute by name, for what `server.py` imports at its top."""
        found: dict[str, tuple[str, str | None]] = {}
        for statement in _parsed(file):
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    found[alias.asname or alias.name.split(".")[0]] = (alias.name, None)
            elif isinstance(statement, ast.ImportFrom) and statement.module:
                for alias in statement.names:
                    found[alias.asname or alias.name] = (statement.module, alias.name)
        return found

    @functools.cache
    def real() -> Any:
        """ComfyUI's module itself, without its web server: for the functions in it."""
        spec = importlib.util.spec_from_file_location("_comfyui_server", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module, attribute = imported().get(name, ("", None))
        try:
            if not module:
                if name not in _defined(file):
                    raise AttributeError(f"module 'server' has no attribute {name!r}")
                return getattr(real(), name)
            if module.startswith(_DATABASE):
                return Unreachable(f"server.{name}")
            found = importlib.import_module(module)
            if attribute is None:
                return importlib.import_module(module.split(".")[0])
            return getattr(found, attribute) if hasattr(found, attribute) else importlib.import_module(f"{module}.{attribute}")
        except ImportError as error:
            raise AttributeError(f"module 'server' has no attribute {name!r} here: {error}") from error

    return get


@functools.cache
def _parsed(file: str) -> list[ast.stmt]:
    try:
        with pathlib.Path(file).open(encoding="utf-8") as source:
            return ast.parse(source.read()).body
    except (OSError, SyntaxError, ValueError):
        return []


@functools.cache
def _defined(file: str) -> frozenset[str]:
    """Functions, classes and variables at the top of a file."""
    names: set[str] = set()
    for statement in _parsed(file):
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(statement.name)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return frozenset(names)
