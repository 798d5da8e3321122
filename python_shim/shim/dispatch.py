"""Sends calls of nodes to workers at the place where ComfyUI's executor calls a node, and leaves node classes as they are.

Every call goes through `execution._async_map_node_over_list`, and so do IS_CHANGED, VALIDATE_INPUTS and check_lazy_status, of V1 and V3
classes alike. Where the exact class of the node object is to run in a worker, a stand-in takes the object's place: lists, blockers and
tasks stay ComfyUI's business. A derived class that calls `super()`, a sibling, and whoever calls a node by itself are not touched.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from ..wire.segments import OWNER
from . import executor, log, proxy_v3
from .calls import Calls
from .choices import Choices
from .executor import Step
from .kept import dead_handles, dead_owners, holds, is_live
from .prompts import Prompts
from .remote_error import HandleGone

#: What a worker is asked for, by ComfyUI's names of the methods, V1's and V3's.
_METHODS = {
    "IS_CHANGED": "IS_CHANGED",
    "fingerprint_inputs": "IS_CHANGED",
    "VALIDATE_INPUTS": "VALIDATE_INPUTS",
    "validate_inputs": "VALIDATE_INPUTS",
    "check_lazy_status": "check_lazy_status",
}
_HIDDEN = "_envmanager_object"


class StandIn:
    """Is called in place of a node object. What else is asked of it, the object answers."""

    def __init__(self, obj: Any, method: str, call: Callable[..., Awaitable[Any]]) -> None:
        self.__dict__.update({_HIDDEN: obj, method: call})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__[_HIDDEN], name)


class Instances:
    """Names of node objects that never repeat: a worker keeps an object of its own for each, until ComfyUI lets go of its one."""

    def __init__(self, release: Callable[[str], None]) -> None:
        self._release, self._numbers = release, itertools.count(1)
        self._names: dict[int, str] = {}

    def name_of(self, obj: Any) -> str | None:
        """None for an object whose end cannot be heard of, and for a class."""
        if isinstance(obj, type):
            return None
        key = id(obj)
        if key not in self._names:
            name = f"{OWNER}-i{next(self._numbers)}"
            try:
                weakref.finalize(obj, self._ended, key, name).atexit = False
            except TypeError:
                return None
            self._names[key] = name
        return self._names[key]

    def _ended(self, key: int, name: str) -> None:
        self._names.pop(key, None)
        self._release(name)


class Dispatch:
    """`reason` says why nothing can be sent to workers from here; None: it can."""

    def __init__(self, calls: Calls, choices: Choices, prompts: Prompts, release: Callable[[str], None]) -> None:
        self._calls, self._choices, self.prompts = calls, choices, prompts
        self._instances = Instances(release)
        #: Pack and name of node classes, by the exact class; None: not a pack's.
        self._classes: dict[type, tuple[str, str] | None] = {}
        #: Classes that can run in a worker only, by their packs: ComfyUI has not imported them.
        self.proxies: weakref.WeakSet[type] = weakref.WeakSet()
        #: Calls of a node that were sent, by prompt and node, while it runs.
        self._sent: dict[tuple[str, str], int] = {}
        #: Nodes of running prompts that have run again, and for want of which process: who gives the same object again is not asked twice.
        self._asked: set[tuple[str, str, str]] = set()
        #: Where an output that is kept was made, by its key.
        self._made: dict[Any, str | None] = {}
        #: Processes that cannot be reached any more, by what workers have answered.
        self._gone: set[str] = set()
        self.reason: str | None = "ComfyUI has not started yet"

    def install(self, execution: Any) -> None:
        """Step into the module `execution`. If it is none that we know, it stays as it is."""
        try:
            executor.check(execution)
        except executor.UnknownExecutor as error:
            self.reason = f"this ComfyUI is one that we do not know: {error}"
            log.warning("comfyui-envmanager: packs that ComfyUI has loaded cannot be isolated: %s", self.reason)
            return
        execution._async_map_node_over_list = self._mapping(execution._async_map_node_over_list)
        execution.execute = self._executing(execution.execute, execution.ExecutionResult)
        kind = execution.PromptExecutor
        kind.execute_async = self._prompting(kind.execute_async)
        self.reason = None

    def _mapping(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        async def map_node(prompt_id: Any, unique_id: Any, obj: Any, input_data_all: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
            target = self._target(obj if isinstance(obj, type) else type(obj), str(unique_id), prompt_id)
            method = None if target is None else "FUNCTION" if func == getattr(obj, "FUNCTION", None) else _METHODS.get(func)
            if target is not None and method is not None:
                obj = self._stand_in(obj, func, target, method, str(unique_id), prompt_id, kwargs)
            return await inner(prompt_id, unique_id, obj, input_data_all, func, *args, **kwargs)

        return map_node

    def _stand_in(
        self, obj: Any, func: str, target: tuple[str, str], method: str, node: str, prompt: Any, given: dict[str, Any]
    ) -> StandIn:
        (pack, name), instance = target, self._instances.name_of(obj)
        prepare = proxy_v3.inputs_of(obj, given) if proxy_v3.is_v3(obj if isinstance(obj, type) else type(obj)) else None

        key = (str(prompt), node)
        runs = int(method == "FUNCTION")  # a check may be asked again
        if runs:
            self._sent[key] = 0  # it begins

        async def call(**inputs: Any) -> Any:
            ready = inputs if prepare is None else prepare(inputs)
            self._sent[key] = self._sent.get(key, 0) + runs
            try:
                return await self._calls.run(pack, name, method, node, prompt, ready, instance=instance)
            except HandleGone:
                self._sent[key] = self._sent.get(key, 0) - runs  # it has not run
                raise

        return StandIn(obj, func, call)

    def _target(self, cls: type, node: str, prompt: Any) -> tuple[str, str] | None:
        """Pack and class name if nodes of that very class run in a worker now."""
        found = self.pack_of(cls)
        if found is None or (cls not in self.proxies and not self._choices.isolated(*found, node, prompt)):
            return None
        return found

    def pack_of(self, cls: type) -> tuple[str, str] | None:
        """Pack and name of a node class of a pack; None for any other class."""
        mappings = sys.modules["nodes"].NODE_CLASS_MAPPINGS
        if cls not in self._classes or ((known := self._classes[cls]) is not None and mappings.get(known[1]) is not cls):
            for name, each in list(mappings.items()):
                if isinstance(each, type):
                    parent, _, pack = str(vars(each).get("RELATIVE_PYTHON_MODULE", "")).partition(".")
                    self._classes[each] = (pack, name) if parent == "custom_nodes" else None
            self._classes.setdefault(cls, None)
        return self._classes[cls]

    def _prompting(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(inner)

        @functools.wraps(inner)
        async def execute_async(executing: Any, *args: Any, **kwargs: Any) -> Any:
            given = signature.bind(executing, *args, **kwargs).arguments
            prompt = str(given["prompt_id"])
            self.prompts.begin(prompt)
            absent: list[str] = []
            try:
                absent = stand_for_absent(given.get("prompt"))
                self._choices.freeze(prompt)
                self._forget_dead(executing.caches)
                return await inner(executing, *args, **kwargs)
            finally:
                self._sent.clear()
                self._asked.clear()
                self._choices.thaw(prompt)
                for name in absent:
                    sys.modules["nodes"].NODE_CLASS_MAPPINGS.pop(name, None)
                self.prompts.end(prompt)

        return execute_async

    def _forget_dead(self, caches: Any) -> None:
        """Outputs that hold objects of workers that have ended are not there: their nodes run again if they are needed."""
        is_dead = dead_handles(self._is_gone)
        executor.forget(caches, None, lambda entry: holds(executor.outputs_in(entry), is_dead))
        kept = {key for part in executor.kept_outputs(caches) for key in part}
        self._made = {key: place for key, place in self._made.items() if key in kept}

    def _executing(self, inner: Callable[..., Any], results: Any) -> Callable[..., Any]:
        read = executor.step_reader(inner)

        @functools.wraps(inner)
        async def execute(*args: Any, **kwargs: Any) -> Any:
            step = read(args, kwargs)
            was_kept = step.waiting.is_cached(step.node)
            if not was_kept and not step.has_begun and self._waits_again(step):
                return results.PENDING, None, None
            answer = await inner(*args, **kwargs)
            if answer[0] == results.SUCCESS and not was_kept:
                self._note_place(step)
            elif answer[0] == results.FAILURE and self._may_run_again(step, answer[2]) and self._waits_again(step):
                return results.PENDING, None, None
            return answer

        return execute

    def _may_run_again(self, step: Step, error: Any) -> bool:
        """Whether a node has failed for want of an object that is gone, and no call of it was sent: a call runs at most once."""
        if not isinstance(error, HandleGone) or self._sent.get((step.prompt, step.node)):
            return False
        self._gone |= error.owners
        return True

    def _is_gone(self, owner: str) -> bool:
        return owner in self._gone or self._calls.is_gone(owner)

    def _note_place(self, step: Step) -> None:
        key = executor.key_of(step.caches, step.node)
        if key is not None:
            self._made[key] = self._place(step, step.node)

    def _place(self, step: Step, node: str) -> str | None:
        """The pack in whose worker a node runs in this prompt; None: in ComfyUI."""
        cls = sys.modules["nodes"].NODE_CLASS_MAPPINGS.get(step.class_type(node))
        target = None if cls is None else self._target(cls, node, step.prompt)
        return None if target is None else target[0]

    def _waits_again(self, step: Step) -> bool:
        """Whether the node must wait, since an input of it cannot be used any more: what makes that input then runs once more."""
        stale: list[Any] = []
        new: set[tuple[str, str, str]] = set()
        for source, socket in step.links(step.node):
            outputs = executor.given_to(step, source, step.node)
            if outputs is None or socket >= len(outputs):
                continue  # a lazy input that nobody has asked for
            reasons = dead_owners(outputs[socket], self._is_gone)
            if not reasons and holds(outputs[socket], is_live) and self._is_stale(step, source, set(), stale):
                reasons = {"elsewhere"}
            new |= {(step.prompt, source, reason) for reason in reasons}
        if new <= self._asked:
            return False
        self._asked |= new
        is_dead = dead_handles(self._is_gone)

        def is_bad(entry: Any) -> bool:
            outputs = executor.outputs_in(entry)
            return holds(outputs, is_dead) or any(outputs is each for each in stale)

        takers = executor.takers(step, is_bad)
        executor.forget(step.caches, step.waiting, is_bad)
        executor.run_again(step, takers)
        return True

    def _is_stale(self, step: Step, node: str, seen: set[str], stale: list[Any]) -> bool:
        """Whether an object in a kept output was made where its node does not run any more, there or above. `stale` gets those outputs."""
        seen.add(node)
        outputs = executor.kept_of(step, node)
        if outputs is None or not step.dynprompt.has_node(node) or not holds(outputs, is_live):
            return False
        key = executor.key_of(step.caches, node)
        moved = key in self._made and self._made[key] != self._place(step, node)
        above = [self._is_stale(step, source, seen, stale) for source, _ in step.links(node) if source not in seen]
        if moved or any(above):
            stale.append(outputs)
            return True
        return False


def stand_for_absent(prompt: Any) -> list[str]:
    """Node classes that have gone since the prompt was queued: ComfyUI's executor looks them up where an error would end its thread.
    In their place stand classes that say so; their names, to be taken away afterwards."""
    mappings = sys.modules["nodes"].NODE_CLASS_MAPPINGS
    names = {node.get("class_type") for node in prompt.values() if isinstance(node, dict)} if isinstance(prompt, dict) else set()
    absent = [name for name in names if isinstance(name, str) and name not in mappings]
    for name in absent:
        mappings[name] = _absent(name)
    return absent


def _absent(name: str) -> type:
    def run(self: Any, **inputs: Any) -> Any:
        raise RuntimeError(f"There is no node class {name} any more: its node pack was switched or removed after this prompt was queued.")

    return type(name, (), {"INPUT_TYPES": classmethod(lambda cls: {}), "RETURN_TYPES": (), "FUNCTION": "run", "CATEGORY": "", "run": run})
