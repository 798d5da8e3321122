"""How each pack stands in this ComfyUI, and the switch that moves it between ComfyUI and a worker.

A pack that ComfyUI has loaded keeps its classes: `dispatch.py` sends their calls. One that it has not loaded has proxies in their place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..wire.errors import CodedError
from ..wire.pack_key import code_of, is_same_code, shape
from . import log, saved
from .calls import Calls
from .choices import Choices
from .described import live_of
from .dispatch import Dispatch
from .node_owners import mappings
from .pack_folders import WebFolders, add_model_folders, find_pack, gone_among
from .prompts import Prompts
from .proxy import is_proxy, make_proxy, renew
from .registrations import Registrations


class Registry:
    """Packs by folder name. Other threads read while one writes; `apply` writes one switch after the other, and between prompts."""

    def __init__(self, calls: Calls, choices: Choices, prompts: Prompts, dispatch: Dispatch) -> None:
        self._calls, self.choices, self._prompts, self._dispatch = calls, choices, prompts, dispatch
        self._folders: dict[str, str] = {}
        self._errors: dict[str, str | None] = {}
        #: What the worker has said of each proxy's class, by pack and name.
        self._proxies: dict[str, dict[str, dict[str, Any]]] = {}
        self._web: dict[str, dict[str, Any]] = {}
        self._registrations = Registrations(calls)
        self.web_folders = WebFolders()
        #: Packs that ComfyUI's load has left out, and whose worker has not told their classes.
        self._left_out: set[str] = set()
        #: Names that packs cannot take, as ComfyUI tells its loader: those of its own node classes.
        self._reserved: frozenset[str] = frozenset()
        self._switching = threading.Lock()
        #: Told of a pack whose classes were exchanged since its files have changed, on any thread.
        self.on_exchanged: Callable[[str], None] = lambda pack: None
        self.load_in_host: Any = None

    def reserve(self, names: Iterable[str]) -> None:
        """ComfyUI ignores these names when it loads packs (`init_external_custom_nodes`), and so do we from now on."""
        self._reserved = self._reserved | frozenset(names)

    def loading(self, pack: str) -> contextlib.AbstractContextManager[None]:
        """Around ComfyUI's import of a pack."""
        return self._dispatch.owners.loading(pack)

    def loaded(self, pack: str, folder: str, error: str | None) -> None:
        """ComfyUI has tried to import a pack."""
        self._folders[pack], self._errors[pack] = folder, error
        if error is not None:
            return
        self._has_code(pack, code_of(folder))
        chosen = saved.classes_apart(pack)
        if chosen:
            self.choices.set_pack(pack, False, chosen)

    def own_classes(self, pack: str) -> dict[str, Any]:
        """The pack's node classes in ComfyUI, by name."""
        owners = self._dispatch.owners
        return {name: cls for name, cls in list(mappings().items()) if owners.pack_of(name) == pack}

    def register_proxies(self, pack: str, folder: str, report: dict[str, Any]) -> None:
        """Do what ComfyUI's loader would have done."""
        nodes = sys.modules["nodes"]
        self._folders[pack], self._errors[pack] = folder, None
        self._has_code(pack, report["code"])
        known = self._proxies.setdefault(pack, {})
        for spec in report["classes"]:
            name = spec["name"]
            if name in self._reserved:  # also of a kept description
                continue
            proxy, present = make_proxy(self._calls, pack, spec), nodes.NODE_CLASS_MAPPINGS.get(name)
            if not (is_proxy(present) and renew(present, proxy)):
                nodes.NODE_CLASS_MAPPINGS[name] = proxy
            nodes.NODE_DISPLAY_NAME_MAPPINGS.pop(name, None)
            if spec["display_name"] is not None:
                nodes.NODE_DISPLAY_NAME_MAPPINGS[name] = spec["display_name"]
            known[name] = spec
        self._registrations.set(pack, report)
        nodes.LOADED_MODULE_DIRS[pack] = os.path.abspath(folder)
        self.web_folders.add(pack, folder, report)

    def leave_out(self, pack: str, folder: str) -> None:
        """ComfyUI's load goes on without an isolated pack of whose classes nothing is known."""
        self._folders[pack], self._errors[pack] = folder, None
        self._left_out.add(pack)

    def first_loaded(self, pack: str, report: dict[str, Any]) -> None:
        """The worker of a pack that was left out has told its classes. They come in ComfyUI's order of loading, late as they are."""
        with self._switching:
            if pack not in self._left_out:  # switched meanwhile
                return
            own = [spec for spec in report["classes"] if spec["name"] not in self._reserved and self._comes_after(pack, spec["name"])]
            takes = any(spec["name"] in mappings() for spec in own)  # a new name is nothing to a prompt that runs
            with self._prompts.between() if takes else contextlib.nullcontext():
                self.register_proxies(pack, self._folder(pack), {**report, "classes": own})
            self.offered(report)
            self._left_out.discard(pack)
        self.on_exchanged(pack)

    def first_load_failed(self, pack: str, error: str) -> None:
        """The worker of a pack that was left out could not load it."""
        with self._switching:
            if pack not in self._left_out:
                return
            self._errors[pack] = error
        self.on_exchanged(pack)

    def not_loaded(self) -> dict[str, str]:
        """The isolated packs that have no node classes here since their workers could not load them, and why."""
        return {pack: error for pack in list(self._left_out) if (error := self._errors.get(pack))}

    def _comes_after(self, pack: str, name: str) -> bool:
        """Whether ComfyUI loads a pack after the one that has this name now: of two packs with one name, the later one has it."""
        owner, order = self._dispatch.owners.pack_of(name), list(self._folders)
        return name not in mappings() or owner == pack or (owner in order and order.index(owner) < order.index(pack))

    def offered(self, report: dict[str, Any]) -> None:
        """A worker has said what its pack offers beside its node classes: routes, prompt handlers, folders of model files."""
        self._web[report["pack"]] = {key: report[key] for key in ("routes", "web_socket", "prompt_handlers")}
        add_model_folders(report["folders"])

    def updated(self, report: dict[str, Any]) -> None:
        """A worker has started again: its pack may list other choices now, serves its routes elsewhere, or is another one by its files."""
        pack = report["pack"]
        if pack in self._left_out:  # its first load, or another try after one that failed
            threading.Thread(target=self.first_loaded, args=(pack, report), name="envmanager-first", daemon=True).start()
            return
        if pack not in self._proxies and not self.choices.has_pack(pack):
            return
        self.offered(report)
        is_same = is_same_code(self._calls.codes.setdefault(pack, report["code"]), report["code"])
        if is_same:  # of classes that ComfyUI has imported, the worker is the first to say how they are called
            self._calls.codes[pack] = report["code"]
        known = self._proxies.get(pack)
        if known is None:
            return
        own = self._own_specs(pack, report)
        same = [spec for spec in own if spec["name"] in known and shape(spec) == shape(known[spec["name"]])]
        if is_same:
            self._renew(pack, same)
        if not is_same or len(same) != len(own) or len(known) != len(own):  # what a prompt has begun with stays until it has ended
            threading.Thread(target=self._exchange, args=(pack, report), name="envmanager-renew", daemon=True).start()

    def _own_specs(self, pack: str, report: dict[str, Any]) -> list[dict[str, Any]]:
        """Those of a pack's classes whose names it may have in ComfyUI."""
        return [spec for spec in report["classes"] if spec["name"] not in self._reserved and self._may_have(pack, spec["name"])]

    def _exchange(self, pack: str, report: dict[str, Any]) -> None:
        """The pack's classes are others now: all of them change at once, between two prompts."""
        with self._switching, self._prompts.between():
            if pack not in self._proxies:  # switched off meanwhile
                return
            own = self._own_specs(pack, report)
            names = {spec["name"] for spec in own}
            gone = [name for name in self._proxies[pack] if name not in names]
            self.register_proxies(pack, self._folder(pack), {**report, "classes": own})
            self._forget(pack, gone)
        log.info("comfyui-envmanager: the node classes of %s are others now, and were loaded anew.", pack)
        self.on_exchanged(pack)

    def _has_code(self, pack: str, code: str) -> None:
        """The classes that ComfyUI has of a pack are of this code."""
        if not is_same_code(self._calls.codes.get(pack, code), code):
            self._dispatch.pack_changed()
        self._calls.codes[pack] = code

    def _forget(self, pack: str, names: Iterable[str]) -> None:
        for name in names:
            self._proxies[pack].pop(name, None)
            if is_proxy(mappings().get(name)):
                mappings().pop(name, None)
                sys.modules["nodes"].NODE_DISPLAY_NAME_MAPPINGS.pop(name, None)

    def _renew(self, pack: str, specs: list[dict[str, Any]]) -> None:
        known = self._proxies.get(pack, {})
        for spec in specs:
            proxy = mappings().get(spec["name"])
            if is_proxy(proxy) and spec["name"] in known:
                renew(proxy, make_proxy(self._calls, pack, spec))
                known[spec["name"]] = spec

    def web(self) -> dict[str, dict[str, Any]]:
        """Routes and handlers of the packs that run in a worker, by pack."""
        return {pack: entry for pack, entry in list(self._web.items()) if pack in self._proxies or self.choices.has_pack(pack)}

    def proxied(self) -> list[str]:
        """Packs whose node classes answer for a worker."""
        return [pack for pack, names in list(self._proxies.items()) if names]

    def apply(self, params: dict[str, Any]) -> dict[str, Any]:
        """`isolation.apply` of the schemas. A prompt that runs goes on as it has begun."""
        pack, loaded = params["pack"], params["loaded"]
        with self._switching:
            if loaded is not None:
                self._switch_on(pack, params, loaded)
            else:
                self.choices.set_pack(pack, params["on"], params["classes"])
                self._switch_off(pack)
        later = self._later(pack, loaded) if loaded is not None and params["on"] else None
        return {"pack": self.report_pack(pack), "restart_needed": later}

    def _later(self, pack: str, loaded: dict[str, Any]) -> str | None:
        """What a restart is needed for: classes that ComfyUI still has of a pack whose folder was renamed or removed since."""
        taken = [spec["name"] for spec in loaded["classes"] if not self._may_have(pack, spec["name"])]
        gone = gone_among((self._dispatch.owners.pack_of(name) for name in taken), self._folders)
        what = f"ComfyUI still has its node classes from {', '.join(gone)}, whose folder is gone."
        return f"{what} They run isolated when ComfyUI is restarted." if gone else None

    def _switch_on(self, pack: str, params: dict[str, Any], loaded: dict[str, Any]) -> None:
        whole = params["on"]
        proxied = self._proxies.get(pack, {})
        inside = {name for name in self.own_classes(pack) if name not in proxied}
        if inside and self._dispatch.reason is not None:
            what = f"{pack} is loaded in ComfyUI, and {self._dispatch.reason}."
            raise CodedError("HOST_UNKNOWN", what, "Isolate it before ComfyUI starts: switch it on and restart ComfyUI.")
        self.choices.set_pack(pack, whole, params["classes"])
        # what ComfyUI has imported is of the code of then: a newer one would mix both
        known = self._calls.codes.get(pack)
        if not inside or known is None or is_same_code(known, loaded["code"]):
            self._has_code(pack, loaded["code"])
        if whole:
            self.offered(loaded)
        elsewhere = [spec for spec in self._own_specs(pack, loaded) if whole and spec["name"] not in inside]
        if elsewhere:
            with self._prompts.between():
                self.register_proxies(pack, self._folder(pack), {**loaded, "classes": elsewhere})
            self._left_out.discard(pack)

    def _may_have(self, pack: str, name: str) -> bool:
        """Whether a name is free, or the pack's own: a switch takes no name from another pack."""
        return name not in mappings() or self._dispatch.owners.pack_of(name) == pack

    def on_prompt(self, body: dict[str, Any]) -> dict[str, Any]:
        """For `PromptServer.add_on_prompt_handler`: nodes on the canvas that are to run in a worker though their pack does not."""
        self.choices.on_prompt(body)
        return body

    def nodes(self, params: dict[str, Any]) -> dict[str, Any]:
        """`pack.nodes` of the schemas."""
        own = self.own_classes(params["pack"])
        shown = getattr(sys.modules["nodes"], "NODE_DISPLAY_NAME_MAPPINGS", {})
        found = [
            {"name": str(name), "display_name": str(shown.get(name, name)), "live_inputs": live_of(name, cls)} for name, cls in own.items()
        ]
        return {"nodes": found, "imported": bool(own) and not self._proxies.get(params["pack"])}

    def _switch_off(self, pack: str) -> None:
        """ComfyUI loads the pack itself. Its classes take the proxies' names one by one: none is missing meanwhile."""
        self._web.pop(pack, None)
        proxied = self._proxies.get(pack, {})
        if not proxied and pack not in self._left_out:
            self._proxies.pop(pack, None)
            return
        with self._prompts.between():
            self._has_code(pack, code_of(self._folder(pack)))
            taken = {name for name in list(mappings()) if not self._may_have(pack, name)}
            self._registrations.clear(pack)
            loading = self.load_in_host(self._folder(pack), self._reserved | taken)
            asyncio.run_coroutine_threadsafe(loading, sys.modules["server"].PromptServer.instance.loop).result(120)
            self._forget(pack, list(proxied))  # what ComfyUI could not load, or has no more
            self._proxies.pop(pack, None)
            self._left_out.discard(pack)

    def _folder(self, pack: str) -> str:
        return self._folders.get(pack) or find_pack(pack)

    def folder_of(self, pack: str) -> str | None:
        """Where a pack lies, if ComfyUI has loaded it or has its classes."""
        return self._folders.get(pack)

    def live_classes(self, pack: str) -> list[str]:
        """The node classes that take live objects. Asks them for their inputs, which may take a while."""
        return sorted(str(name) for name, cls in self.own_classes(pack).items() if live_of(str(name), cls))

    def report_pack(self, pack: str, live: list[str] | None = None) -> dict[str, Any]:
        """The `HostPack` of the schemas. `live`: its `live_classes`, where they were asked before."""
        own = self.own_classes(pack)
        error = self._errors.get(pack)
        isolated = pack in self._proxies or self.choices.has_pack(pack)
        state = "worker" if isolated else "failed" if error else "worker" if pack in self._left_out else "host"
        live = self.live_classes(pack) if live is None else live
        proxied = bool(self._proxies.get(pack))
        return {"id": pack, "loaded": state, "error": error, "classes": len(own), "live_classes": live, "proxied": proxied}

    def packs(self) -> list[str]:
        """Every pack that ComfyUI has tried to load, or that runs in a worker."""
        return sorted(self._folders)
