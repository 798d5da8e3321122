"""Whether ComfyUI's executor is one that we know: asked once, when ComfyUI has imported it, of the module and of an empty sample of each
thing that `executor.py` looks into later. One that lacks a part is not stepped into, and that is said: a look that fails in the middle of a
prompt would end the thread that runs all prompts. (Other kinds of cache, LRU or RAM pressure, derive from the one that is sampled here.)
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any

from .executor import STEP

#: How `_async_map_node_over_list` begins.
_MAP = ["prompt_id", "unique_id", "obj", "input_data_all", "func"]
_RESULTS = ("SUCCESS", "FAILURE", "PENDING")
_GRAPH = ("has_node", "get_node", "get_real_node_id", "ephemeral_prompt", "ephemeral_parents", "ephemeral_display")
_WAITING = ("pendingNodes", "is_cached", "add_strong_link")
_CACHE = ("cache", "subcaches", "get", "set", "set_prompt")


class UnknownExecutor(Exception):
    """This ComfyUI runs nodes in a way that we do not know. The message says what is missing."""


def check(execution: Any) -> None:
    """Raises UnknownExecutor for a module that has not what we step into or look into."""
    _check_functions(execution)
    _need(getattr(execution, "ExecutionResult", None), "ExecutionResult", _RESULTS)
    if hasattr(execution, "CacheEntry"):  # 0.3.64 keeps plain lists
        _need(execution.CacheEntry, "CacheEntry", ("outputs",))
    try:
        graph, caches = execution.DynamicPrompt({}), execution.CacheSet()
        waiting = execution.ExecutionList(graph, caches.outputs)
        kept = {"outputs": caches.outputs, "objects": caches.objects}
    except Exception as error:
        raise UnknownExecutor(f"its executor's graph and caches are not as we know them ({type(error).__name__}: {error})") from error
    _need(graph, "DynamicPrompt", _GRAPH)
    _need(waiting, "ExecutionList", _WAITING)
    for name, cache in kept.items():
        _check_cache(cache, f"CacheSet.{name}", graph)


def _check_functions(execution: Any) -> None:
    function = getattr(execution, "_async_map_node_over_list", None)
    if not inspect.iscoroutinefunction(function) or list(inspect.signature(function).parameters)[:5] != _MAP:
        raise UnknownExecutor("its executor has no _async_map_node_over_list that takes a node object and the name of a method")
    execute = getattr(execution, "execute", None)
    if not inspect.iscoroutinefunction(execute) or not set(STEP) <= inspect.signature(execute).parameters.keys():
        raise UnknownExecutor("its executor has no execute that takes one node of a graph")
    run = getattr(getattr(execution, "PromptExecutor", None), "execute_async", None)
    if not inspect.iscoroutinefunction(run) or "prompt_id" not in inspect.signature(run).parameters:
        raise UnknownExecutor("its executor has no PromptExecutor.execute_async that takes a prompt's id")


def _check_cache(cache: Any, where: str, graph: Any) -> None:
    """Of one that has no nodes yet."""
    _need(cache, where, _CACHE)
    if not isinstance(cache.cache, dict) or not isinstance(cache.subcaches, dict):
        raise UnknownExecutor(f"its {where} keeps its entries in no dict")
    try:
        _at_once(cache.set_prompt(graph, [], None))
    except Exception as error:
        raise UnknownExecutor(f"its {where}.set_prompt is not as we know it ({type(error).__name__}: {error})") from error
    _need(getattr(cache, "cache_key_set", None), f"{where}.cache_key_set", ("get_data_key",))


def _need(thing: Any, where: str, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        raise UnknownExecutor(f"its executor has no {where}.{missing[0]}")


def _at_once(work: Coroutine[Any, Any, Any]) -> None:
    """Run what waits for nothing, here where no loop runs yet."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise TypeError("it waits for something")
