"""Runs prompts as ComfyUI 0.33 does (`execution.py`): kept outputs, lists, lazy inputs, blockers, added nodes, async nodes side by side.

Names and arguments that our shim steps into are ComfyUI's.
"""

import asyncio
import inspect
import time
import traceback
from typing import Any, NamedTuple

import nodes
import torch
from comfy import model_management
from comfy_execution.graph import DynamicPrompt, ExecutionList
from comfy_execution.graph_utils import ExecutionBlocker, GraphBuilder
from comfy_execution.utils import CurrentNodeContext
from kept_nodes import CacheEntry, CacheSet, add_subgraph, from_subgraph
from node_data import (
    ExecutionResult,
    describe,
    get_input_data,
    get_output_from_returns,
    in_context,
    merge_result_data,
    resolve_map_node_over_list_results,
)


class IsChangedCache:
    """What IS_CHANGED says, asked once a prompt."""

    def __init__(self, prompt_id, dynprompt):
        self._prompt_id, self._dynprompt, self._found = prompt_id, dynprompt, {}

    async def get(self, node_id):
        """False: it has not changed."""
        if node_id not in self._found:
            self._found[node_id] = await self._ask(node_id)
        return self._found[node_id]

    async def _ask(self, node_id):
        node = self._dynprompt.get_node(node_id)
        cls = nodes.NODE_CLASS_MAPPINGS[node["class_type"]]
        if not hasattr(cls, "IS_CHANGED"):
            return False
        inputs, _ = get_input_data(node["inputs"], cls, node_id)
        try:
            results = await _async_map_node_over_list(self._prompt_id, node_id, cls, inputs, "IS_CHANGED")
            return await resolve_map_node_over_list_results(results)
        except Exception:
            traceback.print_exc()
            return float("nan")


async def _async_map_node_over_list(
    prompt_id, unique_id, obj, input_data_all, func, allow_interrupt=False, execution_block_cb=None, pre_execute_cb=None, v3_data=None
):
    """Call a method of a node once for each item of its inputs; async ones become tasks."""
    results = []

    async def one(inputs, index=None, whole_lists=False):
        if allow_interrupt:
            nodes.before_node_execution()
        values = [item for value in inputs.values() for item in (value if whole_lists else [value])]
        block = next((value for value in values if isinstance(value, ExecutionBlocker)), None)
        if block is not None:
            results.append(execution_block_cb(block) if execution_block_cb else block)
            return
        if pre_execute_cb is not None and index is not None:
            pre_execute_cb(index)
        function = getattr(obj, func)
        if inspect.iscoroutinefunction(function):
            task = asyncio.create_task(in_context(function, prompt_id, unique_id, index, inputs))
            await asyncio.sleep(0)
            results.append(task.result() if task.done() else task)
        else:
            with CurrentNodeContext(prompt_id, unique_id, index):
                results.append(function(**inputs))

    length = max((len(value) for value in input_data_all.values()), default=0)
    if getattr(obj, "INPUT_IS_LIST", False):
        await one(input_data_all, 0, True)
    elif length == 0:
        await one({})
    else:
        for index in range(length):
            await one({name: value[min(index, len(value) - 1)] for name, value in input_data_all.items()}, index)
    return results


async def _lazily(prompt_id, unique_id, obj, inputs, missing):
    """Names of lazy inputs that a node needs."""
    if getattr(obj, "check_lazy_status", None) is None:
        return []
    asked = await _async_map_node_over_list(prompt_id, unique_id, obj, inputs, "check_lazy_status", allow_interrupt=True)
    names = {name for wanted in await resolve_map_node_over_list_results(asked) if isinstance(wanted, list) for name in wanted}
    return [name for name in names if isinstance(name, str) and (name not in inputs or name in missing)]


class _NodeRun(NamedTuple):
    """One node of one prompt, at one of its turns."""

    server: Any
    dynprompt: Any
    caches: Any
    node_id: str
    extra_data: dict
    prompt_id: str
    waiting: Any
    subgraphs: dict
    tasks: dict
    ui_outputs: dict

    @property
    def display(self):
        return self.dynprompt.get_display_node_id(self.node_id)

    def tell(self, event, **data):
        place = {"node": self.node_id, "display_node": self.display, "prompt_id": self.prompt_id}
        self.server.send_sync(event, {**place, **data}, self.server.client_id)

    async def is_kept(self):
        """Whether its output is kept: then it is shown once more."""
        kept = await self.caches.outputs.get(self.node_id)
        if kept is None:
            return False
        if kept.ui is not None:
            self.ui_outputs[self.node_id] = kept.ui
            self.tell("executed", output=kept.ui)
        self.waiting.cache_update(self.node_id, kept)
        return True

    def inputs(self, cls):
        node = self.dynprompt.get_node(self.node_id)
        return get_input_data(node["inputs"], cls, self.node_id, self.waiting, self.dynprompt, self.extra_data)

    async def go(self, cls):
        """Begin it, or go on with it. False: it waits for something."""
        if self.node_id in self.tasks:
            returned = [task.result() if isinstance(task, asyncio.Task) else task for task in self.tasks.pop(self.node_id)]
            return await self._end(*get_output_from_returns(returned, cls))
        if self.node_id in self.subgraphs:
            resolved = from_subgraph(self.waiting, self.node_id, self.subgraphs.pop(self.node_id))
            return await self._end(merge_result_data(resolved, cls), {}, False)
        returned = await self._begin(cls)
        return returned is not None and await self._end(*get_output_from_returns(returned, cls))

    async def _begin(self, cls):
        """What its calls have returned; None: it waits for something."""
        inputs, missing = self.inputs(cls)
        self.server.last_node_id = self.display
        self.tell("executing")
        obj = await self.caches.objects.get(self.node_id)
        if obj is None:
            obj = cls()
            await self.caches.objects.set(self.node_id, obj)
        wanted = await _lazily(self.prompt_id, self.node_id, obj, inputs, missing)
        for name in wanted:
            self.waiting.make_input_strong_link(self.node_id, name)
        if wanted:
            return None
        returned = await _async_map_node_over_list(
            self.prompt_id,
            self.node_id,
            obj,
            inputs,
            obj.FUNCTION,
            allow_interrupt=True,
            execution_block_cb=self._blocked,
            pre_execute_cb=lambda index: GraphBuilder.set_default_prefix(self.node_id, index, 0),
        )
        if any(isinstance(result, asyncio.Task) and not result.done() for result in returned):
            self._wait_for(returned)
            return None
        return await resolve_map_node_over_list_results(returned)

    def _blocked(self, block):
        if block.message is None:
            return block
        error = {"exception_message": f"Execution Blocked: {block.message}", "exception_type": "ExecutionBlocked"}
        self.server.send_sync("execution_error", {"prompt_id": self.prompt_id, "node_id": self.node_id, **error}, self.server.client_id)
        return ExecutionBlocker(None)

    def _wait_for(self, returned):
        self.tasks[self.node_id] = returned
        unblock = self.waiting.add_external_block(self.node_id)

        async def ended():
            await asyncio.gather(*(task for task in returned if isinstance(task, asyncio.Task)), return_exceptions=True)
            unblock()

        self.caches.waiting = asyncio.create_task(ended())

    async def _end(self, output, ui, has_subgraph):
        if ui:
            self.ui_outputs[self.node_id] = ui
            self.tell("executed", output=ui)
        if has_subgraph:
            self.subgraphs[self.node_id] = await add_subgraph(self.caches, self.dynprompt, self.waiting, self.node_id, output)
            return False
        entry = CacheEntry(self.ui_outputs.get(self.node_id), output)
        self.waiting.cache_update(self.node_id, entry)
        await self.caches.outputs.set(self.node_id, entry)
        return True


async def execute(
    server,
    dynprompt,
    caches,
    current_item,
    extra_data,
    executed,
    prompt_id,
    execution_list,
    pending_subgraph_results,
    pending_async_nodes,
    ui_outputs,
):
    """Run one node, or go on with it."""
    given = (server, dynprompt, caches, current_item, extra_data, prompt_id, execution_list)
    run = _NodeRun(*given, pending_subgraph_results, pending_async_nodes, ui_outputs)
    cls = nodes.NODE_CLASS_MAPPINGS[dynprompt.get_node(current_item)["class_type"]]
    if await run.is_kept():
        return ExecutionResult.SUCCESS, None, None
    real = dynprompt.get_real_node_id(current_item)
    has_begun = current_item in pending_async_nodes or current_item in pending_subgraph_results
    try:
        if not await run.go(cls):
            return ExecutionResult.PENDING, None, None
    except model_management.InterruptProcessingException as error:
        return ExecutionResult.FAILURE, {"node_id": real}, error
    except Exception as error:
        traceback.print_exc()
        return ExecutionResult.FAILURE, describe(error, real, None if has_begun else run.inputs(cls)[0]), error
    executed.add(current_item)
    return ExecutionResult.SUCCESS, None, None


class PromptExecutor:
    """Runs one prompt after the other."""

    def __init__(self, server, cache="classic", most=0):
        self.server, self._cache = server, (cache, most)
        self.reset()

    def reset(self):
        """Forget everything."""
        self.caches = CacheSet(*self._cache)
        self.status_messages, self.success, self.history_result = [], True, {}

    def add_message(self, event, data, broadcast):
        """For the history and the browser."""
        data = {**data, "timestamp": int(time.time() * 1000)}
        self.status_messages.append((event, data))
        self.server.send_sync(event, data, self.server.client_id)

    def execute(self, prompt, prompt_id, extra_data=None, execute_outputs=()):
        """In a loop of its own."""
        asyncio.run(self.execute_async(prompt, prompt_id, extra_data or {}, execute_outputs))

    async def execute_async(self, prompt, prompt_id, extra_data, execute_outputs):
        """The prompt's outputs, and what they need."""
        model_management.interrupt_current_processing(False)
        self.server.client_id = extra_data.get("client_id")
        self.status_messages, self.success = [], True
        self.add_message("execution_start", {"prompt_id": prompt_id}, False)
        with torch.inference_mode():
            await self._run(prompt, prompt_id, extra_data, execute_outputs)

    async def _run(self, prompt, prompt_id, extra_data, execute_outputs):
        dynprompt = DynamicPrompt(prompt)
        is_changed = IsChangedCache(prompt_id, dynprompt)
        for cache in self.caches.all:
            await cache.set_prompt(dynprompt, list(prompt), is_changed)
            cache.clean_unused()
        cached = [node_id for node_id in prompt if await self.caches.outputs.get(node_id) is not None]
        self.add_message("execution_cached", {"nodes": cached, "prompt_id": prompt_id}, False)
        waiting, executed, ui_outputs = ExecutionList(dynprompt, self.caches.outputs), set(), {}
        subgraphs, tasks = {}, {}
        for node_id in execute_outputs:
            waiting.add_node(node_id)
        while not waiting.is_empty():
            node_id = await waiting.stage_node_execution()
            given = (dynprompt, self.caches, node_id, extra_data, executed, prompt_id, waiting, subgraphs, tasks, ui_outputs)
            result, details, error = await execute(self.server, *given)
            if result == ExecutionResult.FAILURE:
                self._failed(prompt_id, prompt, executed, details, error)
                break
            if result == ExecutionResult.PENDING:
                waiting.unstage_node_execution()
            else:
                waiting.complete_node_execution()
        else:
            self.add_message("execution_success", {"prompt_id": prompt_id}, False)
        self.history_result = {"outputs": ui_outputs}
        self.server.last_node_id = None

    def _failed(self, prompt_id, prompt, executed, details, error):
        self.success = False
        node_id = details["node_id"]
        details = {"prompt_id": prompt_id, "node_type": prompt[node_id]["class_type"], "executed": list(executed), **details}
        interrupted = isinstance(error, model_management.InterruptProcessingException)
        self.add_message("execution_interrupted" if interrupted else "execution_error", {"current_outputs": [], **details}, interrupted)
