"""What we know of ComfyUI's executor (`execution.py`, `comfy_execution/caching.py`, `comfy_execution/graph.py`), asked of the module and
never of its version: this file holds each such question, and `known_executor.py` asks at the start whether it has an answer. Seen on
0.3.64 and 0.33.
"""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

#: What `execute` is given that we need, by its own names.
STEP = ("dynprompt", "caches", "current_item", "prompt_id", "execution_list", "pending_subgraph_results", "pending_async_nodes")


def failure(step: Step, error: BaseException) -> dict[str, Any]:
    """What ComfyUI tells of a node that has failed, without a look at its inputs."""
    kind = type(error)
    return {
        "node_id": step.dynprompt.get_real_node_id(step.node),
        "exception_message": str(error),
        "exception_type": f"{kind.__module__}.{kind.__qualname__}",
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {},
    }


class Step(NamedTuple):
    """One node that is about to run."""

    dynprompt: Any
    caches: Any
    node: str
    prompt: str
    waiting: Any
    subgraphs: Any
    tasks: Any

    @property
    def has_begun(self) -> bool:
        """Whether it goes on where it has waited."""
        return self.begun(self.node)

    def begun(self, node: str) -> bool:
        """Whether a node of this prompt has begun, and waits for something."""
        return node in self.subgraphs or node in self.tasks

    def links(self, node: str) -> Iterator[tuple[str, int]]:
        """The outputs of other nodes that a node takes: node and socket."""
        if not self.dynprompt.has_node(node):
            return
        for value in self.dynprompt.get_node(node)["inputs"].values():
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
                yield value[0], value[1]

    def class_type(self, node: str) -> str:
        """The name of a node's class."""
        return str(self.dynprompt.get_node(node)["class_type"])


def step_reader(execute: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], Step]:
    """Finds a `Step` in what `execute` is called with."""
    names = list(inspect.signature(execute).parameters)
    places = [(names.index(name), name) for name in STEP]

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step:
        return Step(*(args[at] if at < len(args) else kwargs[name] for at, name in places))

    return read


def kept_outputs(caches: Any) -> Iterator[dict[Any, Any]]:
    """The dicts in which outputs are kept, by key; none for a cache that keeps nothing between prompts."""
    return _dicts_in(caches.outputs)


def _dicts_in(cache: Any) -> Iterator[dict[Any, Any]]:
    waiting = [cache]
    while waiting:
        cache = waiting.pop()
        kept = getattr(cache, "cache", None)
        if isinstance(kept, dict):
            yield kept
        below = getattr(cache, "subcaches", None)
        if isinstance(below, dict):
            waiting += below.values()


def node_objects(caches: Any) -> Iterator[Any]:
    """The node objects that are kept."""
    for kept in _dicts_in(caches.objects):
        yield from kept.values()


def forget_objects(caches: Any, is_bad: Callable[[Any], bool]) -> None:
    """Forget kept node objects: ComfyUI makes new ones of the classes that it has now."""
    for kept in _dicts_in(caches.objects):
        for key in [key for key, obj in kept.items() if is_bad(obj)]:
            del kept[key]


async def node_object(step: Step) -> Any:
    """The object of a node that ComfyUI keeps; None: it makes one."""
    return await _answer(step.caches.objects.get(step.node))


async def keep_node_object(step: Step, obj: Any) -> None:
    """ComfyUI finds this object of a node from now on, unless its cache keeps nothing."""
    await _answer(step.caches.objects.set(step.node, obj))


async def _answer(value: Any) -> Any:
    """The caches of 0.33 are asked in coroutines."""
    return await value if inspect.isawaitable(value) else value


class _Given:
    """A cache of node objects that keeps none (`--cache-none`), and has one for the node that runs."""

    def __init__(self, cache: Any, obj: Any) -> None:
        self._cache, self._obj = cache, obj

    def get(self, node: str) -> Any:
        return _ready(self._obj) if inspect.iscoroutinefunction(self._cache.get) else self._obj

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


async def _ready(obj: Any) -> Any:
    return obj


@contextlib.contextmanager
def giving(step: Step, obj: Any) -> Iterator[None]:
    """Meanwhile ComfyUI finds this object of the node that runs; nothing changes for None."""
    if obj is None:
        yield
        return
    cache = step.caches.objects
    step.caches.objects = _Given(cache, obj)
    try:
        yield
    finally:
        step.caches.objects = cache


def forget(caches: Any, step: Step | None, is_bad: Callable[[Any], bool]) -> None:
    """Forget kept outputs, also what nodes of the running prompt were to be given (0.33), but for those that have begun: they have it."""
    for kept in kept_outputs(caches):
        for key in [key for key, entry in kept.items() if is_bad(entry)]:
            del kept[key]
    if step is None:
        return
    for node, given in getattr(step.waiting, "execution_cache", {}).items():
        for source, entry in given.items() if not step.begun(node) else ():
            if entry is not None and is_bad(entry):
                given[source] = None


def is_renewed(step: Step, node: str, is_bad: Callable[[Any], bool]) -> bool:
    """Whether a node is to run again anyway, or has done so."""
    outputs = kept_of(step, node)
    return node in step.waiting.pendingNodes or (outputs is not None and not is_bad(outputs))


def key_of(caches: Any, node: str) -> Any:
    """The key under which a node's output is kept; None if it is kept under none."""
    cache = caches.outputs
    if hasattr(cache, "_get_cache_for"):  # nodes that another has added have a cache of their own
        cache = cache._get_cache_for(node)
    keys = getattr(cache, "cache_key_set", None)
    try:
        return None if keys is None else keys.get_data_key(node)
    except KeyError:
        return None


def given_to(step: Step, source: str, target: str) -> Any:
    """What is kept of `source` for `target`: its list of outputs, one for each socket; None if nothing is."""
    given = getattr(step.waiting, "execution_cache", None)
    entry = given.get(target, {}).get(source) if given is not None else step.caches.outputs.get(source)
    return outputs_in(entry)


def kept_of(step: Step, node: str) -> Any:
    """The outputs that are kept of a node; None if there are none."""
    key = key_of(step.caches, node)
    if key is None:
        return None
    return next((outputs_in(kept[key]) for kept in kept_outputs(step.caches) if key in kept), None)


def outputs_in(entry: Any) -> Any:
    """The lists of values in what a cache keeps: beside them newer versions keep what the browser shows."""
    return getattr(entry, "outputs", entry)


def takers(step: Step, is_bad: Callable[[Any], bool]) -> list[tuple[str, str, int]]:
    """The nodes that wait for their turn and were to be given a kept output that is bad: node, source and socket."""
    waiting = [node for node in step.waiting.pendingNodes if not step.begun(node)]
    links = [(node, source, socket) for node in waiting for source, socket in step.links(node)]
    return [link for link in links if (given := given_to(step, link[1], link[0])) is not None and is_bad(given)]


def run_again(step: Step, links: Iterable[tuple[str, str, int]]) -> None:
    """These nodes wait until their sources have run once more, and what the inputs of those need."""
    for node, source, socket in links:
        _take_back_added(step.dynprompt, source)
        step.waiting.add_strong_link(source, socket, node)


def wait_for_equal(step: Step) -> bool:
    """Whether a node must wait, since one that is equal runs: what that one makes is this one's too. ComfyUI looks into its cache before a
    node begins, and none of its own nodes begins while another runs."""
    key = key_of(step.caches, step.node)
    equal = None if key is None else next((node for node in step.tasks if key_of(step.caches, node) == key), None)
    if equal is not None:
        step.waiting.add_strong_link(equal, 0, step.node)
    return equal is not None


def _take_back_added(dynprompt: Any, node: str) -> None:
    """Nodes that a node has added are added once more when it runs again."""
    for added in [added for added, parent in dynprompt.ephemeral_parents.items() if parent == node]:
        _take_back_added(dynprompt, added)
        for part in (dynprompt.ephemeral_prompt, dynprompt.ephemeral_parents, dynprompt.ephemeral_display):
            part.pop(added, None)
