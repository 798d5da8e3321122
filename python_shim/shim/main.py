"""Puts the shim together. `start` runs from prestartup_script.py, `register` from __init__.py."""

from __future__ import annotations

import asyncio
import importlib
import threading
from concurrent.futures import Future
from typing import Any

from ..wire import library
from ..wire.errors import CodedError
from ..wire.importing import when_imported
from . import host_start, log, places, saved
from .bridge_process import BridgeProcess
from .calls import Calls
from .choices import Choices
from .class_facts import ClassFacts
from .client import BridgeClient
from .dispatch import Dispatch
from .first_loads import FirstLoads
from .hooks import Hooks
from .host_events import pass_event, show_progress, tell_waiting, unload_too
from .node_loading import wrap
from .prompts import Prompts
from .registry import Registry
from .report import FolderWatch, folders, host_packs, host_report

#: Between two looks whether there is a bridge that knows of this ComfyUI, in seconds.
_LOOK = 0.1


class Shim:
    """Everything of ours in this ComfyUI."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.hooks = Hooks()
        self.prompts, choices = Prompts(), Choices()
        self.dispatch = Dispatch(self.calls, choices, self.prompts, self._instance_gone)
        self.registry = Registry(self.calls, choices, self.prompts, self.dispatch)
        self.registry.on_exchanged = self._exchanged
        self.first_loads = FirstLoads(self.registry, self._load_in_worker, tell_waiting)
        self.prompts.on_end.append(lambda prompt: self.client.notify("prompt.ended", {"prompt": prompt}))
        own = folders()
        self.process = BridgeProcess(places.home(), own["root"], self._bridge_ready, self._status_changed, own["base"], places.temp())
        self.facts = ClassFacts(lambda: self.process.run)
        self.relay: Any = None
        #: The last that has begun to tell which packs there are.
        self._telling: object = None
        self.client = BridgeClient(
            self.process,
            serves={"isolation.apply": self.registry.apply, "pack.nodes": self.registry.nodes},
            hears={
                "host.event": lambda params: pass_event(self.calls, params),
                "lease.release": self.calls.release,
                "worker.gone": self.calls.worker_gone,
                "workers.alive": self.calls.workers_alive,
                "pack.loaded": lambda params: self.registry.updated(params["loaded"]),
            },
            on_connect=self._connected,
            on_lost=self.calls.bridge_gone,
        )
        self.calls.use(self.client, self.process.connection, self.process)
        self.calls.changed_folders = FolderWatch().changed
        self.calls.on_progress = lambda params: show_progress(self.calls, params)
        self.calls.on_event = lambda params: pass_event(self.calls, params)

    def start(self) -> None:
        """Start the bridge beside ComfyUI and step into its loading of packs."""
        library.provide()
        when_imported("execution", self._into_executor)
        when_imported("nodes", self._into_loading)
        when_imported("comfy.model_management", self._into_unloading)
        self.process.start()

    def _into_executor(self, execution: Any) -> None:
        self.dispatch.install(execution)
        if self.dispatch.reason is not None:
            without = (
                "Packs that ComfyUI has loaded cannot be isolated before it is restarted, "
                "and after an update of an isolated one its kept results are the older files’ until then."
            )
            self.hooks.lost(without, self.dispatch.reason)

    def _into_loading(self, nodes: Any) -> None:
        host_start.keep_environment()
        without = "Every pack runs inside ComfyUI."
        self.hooks.step_in(without, "nodes.load_custom_node", lambda: wrap(nodes, self.registry, self.first_loads.add))

    def _into_unloading(self, management: Any) -> None:
        without = "Its Unload button leaves the models of workers where they are."
        self.hooks.step_in(without, "comfy.model_management.unload_all_models", lambda: unload_too(management, self._unload))

    def register(self) -> None:
        """Add our route, and report once every pack is loaded."""
        from .host_web import HostWeb  # here ComfyUI has imported aiohttp itself
        from .relay import ROUTE, Relay

        server = importlib.import_module("server").PromptServer.instance
        self.relay = Relay(self.process)
        web = HostWeb(self.client, self.registry, self.first_loads, self.prompts)
        step_in = self.hooks.step_in
        step_in("There is no panel.", "PromptServer.routes", lambda: server.routes.get(ROUTE)(self.relay.handle))
        without = "Nodes run where their pack does, whatever is chosen for one of them."
        step_in(without, "PromptServer.add_on_prompt_handler", lambda: server.add_on_prompt_handler(self._on_prompt))
        without = "Isolated packs have no routes and no files for the browser, and no prompt waits for a pack that loads."
        step_in(without, "PromptServer.app.middlewares", lambda: server.app.middlewares.append(web.middleware()))
        without = "Isolated packs whose classes are not known have none."
        step_in(without, "PromptServer.app.on_startup", lambda: server.app.on_startup.append(self._on_startup))
        if self.client.connected:
            self._connected()  # what is missing is shown, also where nothing else tells it

    async def _on_startup(self, app: Any) -> None:
        self._connected()
        try:
            self.facts.keep()
        except Exception as error:  # noqa: BLE001 - ComfyUI's server would not start
            log.warning("comfyui-envmanager: what the panel shows of node classes was not kept: %s", error)
        loads, waits = self.first_loads.start(), False
        try:
            waits = saved.waits_for_packs()
        except Exception as error:  # noqa: BLE001 - the same
            log.warning("comfyui-envmanager: whether to wait for packs is not known, and ComfyUI's start waits for none: %s", error)
        if waits:
            await asyncio.wait({loads})  # what is wrong with one of them keeps no server from starting

    def _on_prompt(self, body: dict[str, Any]) -> dict[str, Any]:
        self.facts.keep()
        return self.registry.on_prompt(body)

    def _exchanged(self, pack: str) -> None:
        self.facts.keep(exchanged=True)
        self.client.notify("pack.exchanged", {"pack": self.registry.report_pack(pack)})

    def _instance_gone(self, name: str) -> None:
        self.client.notify("instance.release", {"instances": [name]})

    def _unload(self) -> None:
        self.calls.relax()
        self.client.notify("models.unload", {})

    def _bridge_ready(self) -> None:
        self.calls.bridge_ready()
        self.facts.keep()
        self.client.connect()

    def _status_changed(self) -> None:
        if self.relay is not None:
            self.relay.status_changed()

    def _connected(self) -> None:
        """Tell the bridge of this ComfyUI: of its folders as soon as there is a link, of its packs again once all are loaded."""
        number = self.process.number
        try:
            told = self.client.request("host.report", {**host_report(), "problems": self.hooks.missing})
            told.add_done_callback(lambda answered: self._introduced(number, answered))
            threading.Thread(target=self._tell_packs, name="envmanager-packs", daemon=True).start()
        except Exception as error:  # noqa: BLE001 - no link yet: it comes with the link
            log.debug("comfyui-envmanager: not reported: %s", error)

    def _introduced(self, number: int, answered: Future[Any]) -> None:
        if _has_answered(answered, "where ComfyUI's folders are"):
            self.calls.introduced = number

    def _tell_packs(self) -> None:
        self._telling = telling = object()
        packs = host_packs(self.registry)
        if telling is not self._telling:  # node classes were slow, and a later thread tells more
            return
        try:
            told = self.client.request("host.packs", {"packs": packs})
            told.add_done_callback(lambda answered: _has_answered(answered, "which packs ComfyUI has"))
        except CodedError as error:
            log.debug("comfyui-envmanager: the packs were not reported: %s", error)

    async def _load_in_worker(self, pack: str) -> dict[str, Any]:
        """Load a pack in its worker, as soon as there is a bridge that knows of this ComfyUI. Raises CodedError."""
        while True:
            number = self.process.number
            if self.client.connected and self.calls.introduced == number:
                try:
                    return await asyncio.wrap_future(self.client.request("pack.load", {"pack": pack}))
                except CodedError as error:
                    if error.code != "CONNECTION_LOST":
                        raise
            status, message, hint = self.process.status
            if status == "failed":
                raise CodedError("CONNECTION_LOST", message, hint)
            await asyncio.sleep(_LOOK)


def _has_answered(answered: Future[Any], what: str) -> bool:
    """Whether the bridge has taken what it was told. A refusal is logged; the end of a link is not: the next one tells it again."""
    error = None if answered.cancelled() else answered.exception()
    if error is not None and getattr(error, "code", None) != "CONNECTION_LOST":
        log.warning("comfyui-envmanager: the bridge was not told %s: %s", what, error)
    return error is None and not answered.cancelled()


_shim: Shim | None = None


def current() -> Shim | None:
    """The one shim of this process."""
    return _shim


def start() -> None:
    """Idempotent: ComfyUI may run only one of our two entry files."""
    global _shim
    if _shim is None:
        _shim = Shim()
        _shim.start()


def register() -> None:
    """Called when ComfyUI loads us as a node pack."""
    start()
    assert _shim is not None
    _shim.register()
