"""Sends calls of nodes to workers at the place where ComfyUI's executor calls a node, and leaves node classes as they are.

Every call goes through `execution._async_map_node_over_list`, and so do IS_CHANGED, VALIDATE_INPUTS and check_lazy_status, of V1 and V3
classes alike. Where the exact class of the node object is to run in a worker, a stand-in takes the object's place: lists, blockers and
tasks stay ComfyUI's business. A derived class that calls `super()`, a sibling, and whoever calls a node by itself are not touched.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from ..wire.errors import NotPortable
from . import executor, known_executor, log, proxy_v3
from .calls import Calls
from .choices import Choices
from .executor import Step
from .host_events import is_interrupt
from .instances import Instances, Unmade, class_of, is_made_elsewhere
from .kept import KeptOutputs
from .node_owners import NodeOwners, mappings
from .one_by_one import OneByOne
from .prompt_classes import class_types, stand_for_absent
from .prompts import Prompts
from .proxy import is_async, is_proxy
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


class Dispatch:
    """`reason` says why nothing can be sent to workers from here; None: it can."""

    def __init__(self, calls: Calls, choices: Choices, prompts: Prompts, release: Callable[[str], None]) -> None:
        self._calls, self._choices, self.prompts = calls, choices, prompts
        self._instances, self.owners = Instances(release), NodeOwners()
        #: Node classes by their identity, since a pack's metaclass may do anything with `==` and hashes: class, names and their packs.
        self._classes: dict[int, tuple[type, list[tuple[str, str]]]] = {}
        #: Calls of a node that were sent, by prompt and node, while it runs.
        self._sent: dict[tuple[str, str], int] = {}
        #: The class names of the nodes of prompts that run, as each was queued, and those that nodes have added.
        self._types: dict[str, dict[str, str]] = {}
        #: Objects of nodes that have begun, by prompt and node: their names last until the last item is done, whatever ComfyUI keeps.
        self._at_work: dict[tuple[str, str], Any] = {}
        self._kept = KeptOutputs(calls.is_gone, self._place)
        self.reason: str | None = "ComfyUI has not started yet"

    def install(self, execution: Any) -> None:
        """Step into the module `execution`. If it is none that we know, it stays as it is."""
        try:
            known_executor.check(execution)
        except known_executor.UnknownExecutor as error:
            self.reason = str(error)
            return
        execution._async_map_node_over_list = self._mapping(execution._async_map_node_over_list)
        execution.execute = self._executing(execution.execute, execution.ExecutionResult)
        kind = execution.PromptExecutor
        kind.execute_async = self._prompting(kind.execute_async)
        self.reason = None

    def pack_changed(self) -> None:
        """ComfyUI has other node classes of a pack now, under the same names."""
        self._kept.outdate()

    def _mapping(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        async def map_node(prompt_id: Any, unique_id: Any, obj: Any, input_data_all: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
            target = self._target(class_of(obj), str(unique_id), prompt_id)
            method = None if target is None else "FUNCTION" if func == getattr(obj, "FUNCTION", None) else _METHODS.get(func)
            if target is not None and method is not None:
                if method == "FUNCTION":
                    self._at_work[str(prompt_id), str(unique_id)] = obj
                obj = self._stand_in(obj, func, target, method, str(unique_id), prompt_id, kwargs)
            elif type(obj) is Unmade:
                obj = class_of(obj)()
            return await inner(prompt_id, unique_id, obj, input_data_all, func, *args, **kwargs)

        return map_node

    def _stand_in(
        self, obj: Any, func: str, target: tuple[str, str], method: str, node: str, prompt: Any, given: dict[str, Any]
    ) -> StandIn:
        (pack, name), instance = target, self._instances.name_of(obj)
        cls = class_of(obj)
        prepare = proxy_v3.inputs_of(cls, given) if proxy_v3.is_v3(cls) else None

        key = (str(prompt), node)
        runs = int(method == "FUNCTION")  # a check may be asked again
        if runs:
            self._sent[key] = 0  # it begins

        async def send(**inputs: Any) -> Any:
            ready = inputs if prepare is None else prepare(inputs)
            self._sent[key] = self._sent.get(key, 0) + runs
            try:
                return await self._calls.run(pack, name, method, node, prompt, ready, instance=instance)
            except HandleGone:
                self._sent[key] = self._sent.get(key, 0) - runs  # it has not run
                raise

        if is_async(cls, func):
            return StandIn(obj, func, send)
        in_order = OneByOne()

        async def call(**inputs: Any) -> Any:
            return await in_order.run(functools.partial(send, **inputs))

        return StandIn(obj, func, call)

    def _target(self, cls: type, node: str, prompt: Any) -> tuple[str, str] | None:
        """Pack and class name if nodes of that very class run in a worker now."""
        names = self._names_of(cls)
        if names and is_proxy(cls):  # ComfyUI has not imported its pack
            return names[0][1], names[0][0]
        if len(names) > 1:  # each name is chosen for itself; a check of inputs comes before its prompt, and is the same for all
            known = self._types.get(str(prompt), {}).get(node)
            names = [each for each in names if each[0] == known] or ([] if any(not pack for _, pack in names) else names)
        return next(((pack, name) for name, pack in names if pack and self._choices.isolated(pack, name, node, prompt)), None)

    def _names_of(self, cls: type) -> list[tuple[str, str]]:
        """The names under which ComfyUI has that very class now, and the pack of each."""
        classes = mappings()
        known = self._classes.get(id(cls))
        if known is None or known[0] is not cls or any(classes.get(name) is not cls for name, _ in known[1]):
            self._classes = {}
            for name, each in list(classes.items()):
                if isinstance(each, type):
                    self._classes.setdefault(id(each), (each, []))[1].append((name, self.owners.pack_of(name)))
            known = self._classes.setdefault(id(cls), (cls, []))
        return known[1]

    def _is_replaced(self, obj: Any) -> bool:
        """Whether a node object is ours, and of a class in whose place ComfyUI has another now: it would go on to call it all the same."""
        cls = class_of(obj)
        return (is_proxy(cls) or type(obj) is Unmade) and not self._names_of(cls)

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
                self._types[prompt] = class_types(given.get("prompt"))
                caches = getattr(executing, "caches", None)
                self._guarded(self._kept.begin, caches)
                self._guarded(executor.forget_objects, caches, self._is_replaced)
                self._guarded(lambda: self._instances.sweep(executor.node_objects(caches)))
                return await inner(executing, *args, **kwargs)
            finally:
                self._sent.clear()
                self._at_work.clear()
                self._choices.thaw(prompt)
                self._types.pop(prompt, None)
                for name in absent:
                    mappings().pop(name, None)
                self.prompts.end(prompt)

        return execute_async

    def _executing(self, inner: Callable[..., Any], results: Any) -> Callable[..., Any]:
        read = executor.step_reader(inner)

        @functools.wraps(inner)
        async def execute(*args: Any, **kwargs: Any) -> Any:
            step = read(args, kwargs)
            self._guarded(self._note_type, step)
            was_kept = step.waiting.is_cached(step.node)
            if not was_kept and not step.has_begun and self._guarded(self._must_wait, step):
                return results.PENDING, None, None
            if not was_kept and not step.has_begun:
                self._guarded(self._kept.begins, step)
            given = None if was_kept or step.has_begun else await self._object(step)
            try:
                with executor.giving(step, given):
                    answer = await inner(*args, **kwargs)
            except Exception as error:
                refused = _refused(error)
                if refused is None:
                    raise
                answer = results.FAILURE, executor.failure(step, refused), refused
            if answer[0] != results.PENDING:
                self._at_work.pop((step.prompt, step.node), None)
            if answer[0] == results.SUCCESS and not was_kept:
                self._guarded(self._kept.has_run, step)
            again = answer[0] == results.FAILURE and self._may_run_again(step, answer[2])
            if again and self._guarded(self._kept.waits_again, step, answer[2]):
                traceback.clear_frames(answer[2].__traceback__)  # they would keep what the prompt has until the garbage collector comes
                return results.PENDING, None, None
            if answer[0] == results.FAILURE and not is_interrupt(answer[2]):
                await self._others_end(step)
            return answer

        return execute

    async def _others_end(self, step: Step) -> None:
        """A node has failed, and the prompt ends with it. Inside ComfyUI no other would be at work then but coroutines: what has begun in a
        worker comes to its end."""
        tasks = [task for node in step.tasks if self._is_whole(step, node) for task in step.tasks[node] if isinstance(task, asyncio.Task)]
        if tasks:
            await asyncio.wait(tasks)

    def _is_whole(self, step: Step, node: str) -> bool:
        """Whether a node has begun in a worker that is no coroutine inside ComfyUI, where nothing ends it but Cancel."""
        obj = self._at_work.get((step.prompt, node)) if self._sent.get((step.prompt, node)) else None
        return obj is not None and not is_async(class_of(obj), obj.FUNCTION)

    async def _object(self, step: Step) -> Unmade | None:
        """See to it that ComfyUI makes the object of a node exactly if the node runs inside. The answer is for a cache that keeps none."""
        try:
            return await self._unmade(step)
        except Exception:  # as in `_guarded`
            log.exception("comfyui-envmanager: the object of node %s could not be looked at", step.node)
            return None

    async def _unmade(self, step: Step) -> Unmade | None:
        cls = mappings().get(step.class_type(step.node))
        known = await executor.node_object(step)
        is_elsewhere = self._place(step, step.node) is not None
        if type(known) is Unmade and not (is_elsewhere and class_of(known) is cls):
            executor.forget_objects(step.caches, lambda obj: obj is known)
            known = None
        if known is not None or not is_elsewhere or is_proxy(cls) or proxy_v3.is_v3(cls) or not is_made_elsewhere(cls):
            return None
        unmade = Unmade(cls)
        await executor.keep_node_object(step, unmade)
        return None if await executor.node_object(step) is unmade else unmade

    def _must_wait(self, step: Step) -> bool:
        """Whether a node that is about to begin cannot yet."""
        return self._kept.waits_again(step) or (self._place(step, step.node) is not None and executor.wait_for_equal(step))

    def _note_type(self, step: Step) -> None:
        """A node that another one has added was not there when the prompt began."""
        self._types.get(step.prompt, {}).setdefault(step.node, step.class_type(step.node))

    def _may_run_again(self, step: Step, error: Any) -> bool:
        """Whether a node has failed for want of an object that is gone, and no call of it was sent: a call runs at most once."""
        return isinstance(error, HandleGone) and not self._sent.get((step.prompt, step.node))

    def _guarded(self, work: Callable[..., Any], *args: Any) -> Any:
        """Outside of nodes an error would end the thread that runs all prompts: then the prompt goes on as it would without us."""
        try:
            return work(*args)
        except Exception:
            log.exception("comfyui-envmanager: kept outputs could not be looked at")
            return None

    def _place(self, step: Step, node: str) -> str | None:
        """The pack in whose worker a node runs in this prompt; None: in ComfyUI."""
        name = step.class_type(node)
        self._types.get(step.prompt, {}).setdefault(node, name)
        cls = mappings().get(name)
        target = None if cls is None else self._target(cls, node, step.prompt)
        return None if target is None else target[0]


def _refused(error: BaseException) -> NotPortable | None:
    """That an input cannot be sent, where ComfyUI could not say so: it writes the inputs of a failed node out, and an object may raise
    then, which would end its thread. Without us the node would have run."""
    looked: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, NotPortable) and not any(seen is each for each in looked):
        looked.append(seen)  # whoever sets a context can make a circle
        seen = seen.__context__
    return seen if isinstance(seen, NotPortable) else None
