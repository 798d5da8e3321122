"""Cache providers that packs register (`comfy_execution/cache_provider.py`): ComfyUI asks them here, through `shim/registrations.py`."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ..wire.errors import CodedError

#: Methods that tell of a prompt and give nothing back.
_TOLD = ("on_prompt_start", "on_prompt_end")
_by_pack: dict[str, list[Any]] = {}


def registered() -> list[Any]:
    """All that this process has, in the order of registering."""
    module: Any = sys.modules.get("comfy_execution.cache_provider")
    return [] if module is None else list(module._get_cache_providers())


def keep(pack: str, before: list[Any]) -> list[list[str]]:
    """Remember those that the import of a pack has added to `before`; returns what each has of the methods that tell of a prompt."""
    _by_pack[pack] = [one for one in registered() if all(one is not known for known in before)]
    return [[what for what in _TOLD if _has_own(type(one), what)] for one in _by_pack[pack]]


def _has_own(cls: type, method: str) -> bool:
    base = importlib.import_module("comfy_api.latest._caching").CacheProvider
    return getattr(cls, method, None) is not getattr(base, method, None)


async def ask(pack: str, number: str, what: str, **given: Any) -> Any:
    """One of a provider's methods. `on_lookup` gives None, or a list of outputs and the node's ui."""
    providers = _by_pack.get(pack, [])
    if int(number) >= len(providers):
        raise CodedError("UNKNOWN_NODE_CLASS", f"{pack} has no cache provider {number} in this worker.", "Reload the node pack.")
    provider, caching = providers[int(number)], importlib.import_module("comfy_api.latest._caching")
    if what in _TOLD:
        return getattr(provider, what)(given["prompt_id"])
    context = caching.CacheContext(**given["context"])
    if what == "on_lookup":
        found = await provider.on_lookup(context) if provider.should_cache(context) else None
        return None if found is None else (found.outputs, found.ui)
    value = caching.CacheValue(outputs=given["outputs"], ui=given["ui"])
    return await provider.on_store(context, value) if provider.should_cache(context, value) else None
