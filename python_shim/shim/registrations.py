"""What an extension registers in a worker and ComfyUI asks here: node replacements and cache providers of proxied packs."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

from . import log
from .calls import Calls

#: A prompt begins or ends without it when a provider takes longer to hear of that, in seconds.
TELL_SECONDS = 30.0


class Registrations:
    """Those of ours in ComfyUI, by pack."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._replacements: dict[str, list[Any]] = {}
        self._providers: dict[str, list[Any]] = {}

    def set(self, pack: str, report: dict[str, Any]) -> None:
        """Exchange a pack's for what its `LoadedPack` of the schemas says. What ComfyUI cannot take is left out, and logged."""
        self.clear(pack)
        try:
            self._set_replacements(pack, report["replacements"])
            self._set_providers(pack, report["cache_providers"])
        except Exception as error:  # noqa: BLE001 - its nodes run without them
            log.warning("comfyui-envmanager: what %s registers with ComfyUI was not registered: %s", pack, error)

    def clear(self, pack: str) -> None:
        """Take a pack's out again."""
        registered = getattr(_replace_manager(), "_replacements", None)
        for one in self._replacements.pop(pack, []):
            if isinstance(registered, dict):  # ComfyUI's manager has no way to take one out, and keeps the first of two for the same names
                left = [other for other in registered.get(one.old_node_id, []) if other is not one]
                registered.pop(one.old_node_id, None)
                registered |= {one.old_node_id: left} if left else {}
        for provider in self._providers.pop(pack, []):
            importlib.import_module("comfy_execution.cache_provider").unregister_cache_provider(provider)

    def _set_replacements(self, pack: str, registered: list[str]) -> None:
        manager = _replace_manager()
        if manager is None or not registered:
            return
        made = [importlib.import_module("comfy_api.latest").io.NodeReplace(**json.loads(fields)) for fields in registered]
        self._replacements[pack] = made
        for one in made:
            manager.register(one)

    def _set_providers(self, pack: str, providers: list[list[str]]) -> None:
        if not providers:
            return
        register = importlib.import_module("comfy_execution.cache_provider").register_cache_provider
        self._providers[pack] = [_make_provider(self._calls, pack, number, own) for number, own in enumerate(providers)]
        for provider in self._providers[pack]:
            register(provider)


def _replace_manager() -> Any:
    """`app/node_replace_manager.py`; older ComfyUIs have none."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    return getattr(getattr(server, "instance", None), "node_replace_manager", None)


def _make_provider(calls: Calls, pack: str, number: int, own: list[str]) -> Any:
    """A cache provider that asks the pack's own, in its worker (`comfy_api/latest/_caching.py`). `own`: which methods that one has."""
    caching: Any = importlib.import_module("comfy_api.latest._caching")

    class IsolatedProvider(caching.CacheProvider):  # type: ignore[misc]
        async def _ask(self, what: str, **given: Any) -> Any:
            return await calls.run(pack, str(number), "CACHE", "", None, {"what": what, **given})

        async def on_lookup(self, context: Any) -> Any:
            found = await self._ask("on_lookup", context=vars(context))
            return None if found is None else caching.CacheValue(outputs=found[0], ui=found[1])

        async def on_store(self, context: Any, value: Any) -> None:
            await self._ask("on_store", context=vars(context), outputs=value.outputs, ui=value.ui)

        def on_prompt_start(self, prompt_id: str) -> None:
            self._tell("on_prompt_start", prompt_id)

        def on_prompt_end(self, prompt_id: str) -> None:
            self._tell("on_prompt_end", prompt_id)

        def _tell(self, what: str, prompt_id: str) -> None:
            """ComfyUI's thread of prompts waits for it, as for a provider's own. The worker asks `should_cache`."""
            if what in own:
                loop = sys.modules["server"].PromptServer.instance.loop  # that of the prompt does not run meanwhile
                asyncio.run_coroutine_threadsafe(self._ask(what, prompt_id=prompt_id), loop).result(TELL_SECONDS)

    return IsolatedProvider()
