"""How each pack stands in this ComfyUI, and the switch that moves it between ComfyUI and a worker."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from ..wire.errors import CodedError
from ..wire.live import live_inputs
from . import log, places
from .calls import Calls
from .choices import Choices
from .proxy import Patch, can_patch, make_proxy, renew

#: What `LoadedPack` of the schemas holds.
_REPORT = ("classes", "web_directory", "web_directories", "routes", "prompt_handlers", "folders", "web_socket")


class Registry:
    """Packs by folder name. `patches` and `proxies` are what the switch has changed."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._folders: dict[str, str] = {}
        self._errors: dict[str, str | None] = {}
        self._patches: dict[str, dict[str, Patch]] = {}
        self.choices = Choices()
        self._proxies: dict[str, list[str]] = {}
        self._web: dict[str, dict[str, Any]] = {}
        self.load_in_host: Any = None

    def loaded(self, pack: str, folder: str, error: str | None) -> None:
        """ComfyUI has tried to import a pack."""
        self._folders[pack] = folder
        self._errors[pack] = error
        chosen = self._saved().get("classes", {}).get(pack, {})
        if chosen and error is None:
            self.choices.set_pack(pack, False, chosen)
            for name, cls in self.own_classes(pack).items():
                if chosen.get(name):
                    self._patch(pack, name, cls)

    def _saved(self) -> dict[str, Any]:
        """What the user has chosen, from disk, so that no bridge is needed."""
        try:
            saved = json.loads((places.home() / "state.json").read_text())
        except (OSError, ValueError):
            return {}
        return saved if isinstance(saved, dict) else {}

    def is_isolated(self, pack: str) -> bool:
        """Whether the user has set the pack to run in a worker."""
        return pack in self._saved().get("isolated", [])

    def cached(self, pack: str) -> dict[str, Any] | None:
        """What the worker said of the pack when it was last loaded."""
        try:
            report = json.loads((places.home() / "classes" / f"{pack}.json").read_text())
        except (OSError, ValueError):
            return None
        # written by an older release: the worker is asked anew
        return report if all(key in report for key in _REPORT) else None

    def own_classes(self, pack: str) -> dict[str, Any]:
        """The pack's node classes in ComfyUI, by name."""
        nodes = sys.modules["nodes"]
        module = f"custom_nodes.{pack}"
        mappings = nodes.NODE_CLASS_MAPPINGS.items()
        return {name: cls for name, cls in mappings if getattr(cls, "RELATIVE_PYTHON_MODULE", None) == module}

    def register_proxies(self, pack: str, folder: str, report: dict[str, Any]) -> None:
        """Do what ComfyUI's loader would have done."""
        nodes = sys.modules["nodes"]
        self._folders[pack] = folder
        self._errors.setdefault(pack, None)
        names = self._proxies.setdefault(pack, [])
        for spec in report["classes"]:
            nodes.NODE_CLASS_MAPPINGS[spec["name"]] = make_proxy(self._calls, pack, spec)
            if spec["display_name"] is not None:
                nodes.NODE_DISPLAY_NAME_MAPPINGS[spec["name"]] = spec["display_name"]
            if spec["name"] not in names:
                names.append(spec["name"])
        nodes.LOADED_MODULE_DIRS[pack] = os.path.abspath(folder)
        own = {pack: report["web_directory"]} if report["web_directory"] is not None else {}
        for name, web in {**own, **report["web_directories"]}.items():
            nodes.EXTENSION_WEB_DIRS.setdefault(name, web)

    def offered(self, report: dict[str, Any]) -> None:
        """A worker has said what its pack offers beside its node classes: routes, prompt handlers, folders of model files."""
        self._web[report["pack"]] = {key: report[key] for key in ("routes", "web_socket", "prompt_handlers")}
        _add_folders(report["folders"])

    def updated(self, report: dict[str, Any]) -> None:
        """A worker has started again: its pack may list other choices now, and serves its routes elsewhere."""
        pack = report["pack"]
        if pack not in self._proxies and not self.choices.has_pack(pack):
            return
        self.offered(report)
        proxied = self._proxies.get(pack, [])
        nodes = sys.modules["nodes"]
        for spec in report["classes"]:
            known = nodes.NODE_CLASS_MAPPINGS.get(spec["name"]) if spec["name"] in proxied else None
            if known is not None:
                renew(known, make_proxy(self._calls, pack, spec))

    def web(self) -> dict[str, dict[str, Any]]:
        """Routes and handlers of the packs that run in a worker, by pack."""
        return {pack: entry for pack, entry in self._web.items() if pack in self._proxies or self.choices.has_pack(pack)}

    def proxied(self) -> list[str]:
        """Packs whose node classes answer for a worker."""
        return [pack for pack, names in self._proxies.items() if names]

    def apply(self, params: dict[str, Any]) -> dict[str, Any]:
        """`isolation.apply` of the schemas."""
        pack = params["pack"]
        loaded = params["loaded"]
        self.choices.set_pack(pack, params["on"], params["classes"])
        if loaded is not None:
            self._switch_on(pack, loaded)
        else:
            self._switch_off(pack)
        return {"pack": self.report_pack(pack), "restart_needed": None}

    def _switch_on(self, pack: str, loaded: dict[str, Any]) -> None:
        whole = self.choices.has_pack(pack)
        if whole:
            self.offered(loaded)
        own = self.own_classes(pack)
        proxied = self._proxies.get(pack, [])
        for spec in loaded["classes"]:
            wanted = whole or self.choices.for_class(pack, spec["name"])
            if wanted and spec["name"] in own and spec["name"] not in proxied:
                self._patch(pack, spec["name"], own[spec["name"]])
        elsewhere = [spec for spec in loaded["classes"] if whole and (spec["name"] not in own or spec["name"] in proxied)]
        if elsewhere:
            self.register_proxies(pack, self._folder(pack), {**loaded, "classes": elsewhere})

    def _patch(self, pack: str, name: str, cls: Any) -> None:
        patches = self._patches.setdefault(pack, {})
        if name not in patches and can_patch(cls):
            patches[name] = Patch(self._calls, pack, name, cls, self.choices.isolated)

    def on_prompt(self, body: dict[str, Any]) -> dict[str, Any]:
        """For `PromptServer.add_on_prompt_handler`: nodes on the canvas that are to run in a worker though their pack does not."""
        chosen = self.choices.on_prompt(body)
        nodes = sys.modules["nodes"]
        for node, isolated in chosen.items():
            name = (body.get("prompt") or {}).get(node, {}).get("class_type")
            cls = nodes.NODE_CLASS_MAPPINGS.get(name)
            parent, _, pack = str(getattr(cls, "RELATIVE_PYTHON_MODULE", "")).partition(".")
            if isolated and parent == "custom_nodes" and name not in self._proxies.get(pack, []):
                self._patch(pack, name, cls)
        return body

    def nodes(self, params: dict[str, Any]) -> dict[str, Any]:
        """`pack.nodes` of the schemas."""
        own = self.own_classes(params["pack"])
        shown = getattr(sys.modules["nodes"], "NODE_DISPLAY_NAME_MAPPINGS", {})
        found = [{"name": name, "display_name": str(shown.get(name, name)), "live_inputs": _live(name, cls)} for name, cls in own.items()]
        return {"nodes": found, "imported": bool(own) and not self._proxies.get(params["pack"])}

    def _switch_off(self, pack: str) -> None:
        for patch in self._patches.pop(pack, {}).values():
            patch.undo()
        self._web.pop(pack, None)
        names = self._proxies.pop(pack, [])
        if not names:
            return
        nodes = sys.modules["nodes"]
        for name in names:
            nodes.NODE_CLASS_MAPPINGS.pop(name, None)
            nodes.NODE_DISPLAY_NAME_MAPPINGS.pop(name, None)
        asyncio.run_coroutine_threadsafe(self.load_in_host(self._folder(pack)), _server().loop).result(120)

    def _folder(self, pack: str) -> str:
        if pack in self._folders:
            return self._folders[pack]
        import folder_paths

        for root in folder_paths.get_folder_paths("custom_nodes"):
            folder = os.path.join(root, pack)
            if os.path.isdir(folder):
                return folder
        raise CodedError("UNKNOWN_PACK", f"There is no node pack {pack}.", "Rescan the node packs.")

    def report_pack(self, pack: str) -> dict[str, Any]:
        """The `HostPack` of the schemas."""
        own = self.own_classes(pack)
        error = self._errors.get(pack)
        state = "worker" if pack in self._proxies or self.choices.has_pack(pack) else "failed" if error else "host"
        live = sorted(name for name, cls in own.items() if _live(name, cls))
        return {"id": pack, "loaded": state, "error": error, "classes": len(own), "live_classes": live}

    def packs(self) -> list[str]:
        """Every pack that ComfyUI has tried to load, or that runs in a worker."""
        return sorted(self._folders)


def _live(name: str, cls: Any) -> list[str]:
    """The inputs of a node class that take live objects, which cannot leave ComfyUI."""
    try:
        return live_inputs(cls.INPUT_TYPES())
    except Exception as error:  # noqa: BLE001 - a pack's own fault, and not ours to report here
        log.debug("comfyui-envmanager: INPUT_TYPES of %s: %s", name, error)
        return []


def _add_folders(folders: dict[str, Any]) -> None:
    """Folders of model files that a pack has added in its worker, for every other node that asks."""
    known: Any = getattr(sys.modules.get("folder_paths"), "folder_names_and_paths", None)
    if known is None:
        return
    for name, entry in folders.items():
        paths, extensions = known.get(name, ([], set()))
        more = [path for path in entry["paths"] if path not in paths]
        if name not in known or more:
            known[name] = ([*paths, *more], {*extensions, *entry["extensions"]})


def _server() -> Any:
    return sys.modules["server"].PromptServer.instance
