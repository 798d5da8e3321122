"""Runs prompts as ComfyUI 0.33 does (`execution.py`): kept outputs, lists, lazy inputs, blockers, added nodes, async nodes side by side.

Names and arguments that our shim steps into are ComfyUI's.
"""

import asyncio
import inspect
import time
import traceback
from enum import Enum
from typing import NamedTuple

import nodes
import torch
from comfy import model_management
from comfy_execution.caching import Cache, InputSignature, NodeId, NullCache
from comfy_execution.graph import DynamicPrompt, ExecutionList, get_input_info
from comfy_execution.graph_utils import ExecutionBlocker, GraphBuilder, is_link
from comfy_execution.utils import CurrentNodeContext


class ExecutionResult(Enum):
    """How a node ended, for now."""

    SUCCESS = 0
    FAILURE = 1
    PENDING = 2


class CacheEntry(NamedTuple):
    """What is kept of a node that has run."""

    ui: dict | None
    outputs: list


class CacheSet:
    """Kept outputs and node objects. `kind`: "classic", "lru" or "none"."""

    def __init__(self, kind="classic", most=0):
        none = kind == "none"
        self.outputs = NullCache() if none else Cache(InputSignature, most if kind == "lru" else 0)
        self.objects = NullCache() if none else Cache(NodeId)
        self.all = [self.outputs, self.objects]


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


def full_name(kind):
    """Class name with its module, built-ins without."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def get_input_data(inputs, cls, node_id, execution_list=None, dynprompt=None, extra_data=None):
    """Lists of values by input name, and the names of those that are not there yet."""
    valid = cls.INPUT_TYPES()
    found, missing = {}, {}
    for name, value in inputs.items():
        _, section, info = get_input_info(cls, name, valid)
        if is_link(value) and not (info or {}).get("rawLink"):
            cached = None if execution_list is None else execution_list.get_cache(value[0], node_id)
            if cached is None or value[1] >= len(cached.outputs):
                missing[name] = True
                found[name] = (None,)
            else:
                found[name] = cached.outputs[value[1]]
        elif section is not None:
            found[name] = [value]
    prompt = {} if dynprompt is None else dynprompt.get_original_prompt()
    hidden = {"PROMPT": prompt, "DYNPROMPT": dynprompt, "EXTRA_PNGINFO": (extra_data or {}).get("extra_pnginfo"), "UNIQUE_ID": node_id}
    found.update({name: [hidden[kind]] for name, kind in valid.get("hidden", {}).items() if kind in hidden})
    return found, missing


async def resolve_map_node_over_list_results(results):
    """The results, those of tasks too."""
    waiting = [result for result in results if isinstance(result, asyncio.Task) and not result.done()]
    if waiting:
        done, _ = await asyncio.wait(waiting)
        for task in done:
            if task.exception() is not None:
                raise task.exception()
    return [result.result() if isinstance(result, asyncio.Task) else result for result in results]


async def _in_context(function, prompt_id, node_id, index, inputs):
    with CurrentNodeContext(prompt_id, node_id, index):
        return await function(**inputs)


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
            task = asyncio.create_task(_in_context(function, prompt_id, unique_id, index, inputs))
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


def merge_result_data(results, obj):
    """One list for each output."""
    listed = getattr(obj, "OUTPUT_IS_LIST", None) or [False] * len(results[0])
    merged = []
    for index, whole in zip(range(len(results[0])), listed, strict=False):
        items = [result[index] for result in results]
        if whole:
            items = [part for item in items for part in ([item] if isinstance(item, ExecutionBlocker) else item)]
        merged.append(items)
    return merged


def get_output_from_returns(returned, obj):
    """Outputs, what the browser shows, and whether nodes are to be added."""
    results, shown, added, has_subgraph = [], [], [], False
    for value in returned:
        graph = None
        if isinstance(value, dict):
            if "ui" in value:
                shown.append(value["ui"])
            graph = value.get("expand")
            value = value.get("result", ())
        if isinstance(value, ExecutionBlocker):
            value = (value,) * len(obj.RETURN_TYPES)
        has_subgraph = has_subgraph or graph is not None
        results.append(value)
        added.append((graph, value))
    ui = {key: [item for each in shown for item in each[key]] for key in shown[0]} if shown else {}
    return (added if has_subgraph else merge_result_data(results, obj) if results else []), ui, has_subgraph


async def _add_subgraph(caches, dynprompt, execution_list, unique_id, results):
    """Nodes that a node has added: they run, and then it ends with their outputs."""
    new, links, kept = set(), [], []
    for graph, outputs in results:
        for node_id, node in (graph or {}).items():
            dynprompt.add_ephemeral_node(node_id, node, unique_id, unique_id)
            new.add(node_id)
        links += [value for value in outputs if is_link(value)]
        kept.append((graph is not None, outputs))
    for cache in caches.all:
        await cache.ensure_subcache_for(unique_id, new)
    for node_id in new:
        if getattr(nodes.NODE_CLASS_MAPPINGS[dynprompt.get_node(node_id)["class_type"]], "OUTPUT_NODE", False):
            execution_list.add_node(node_id)
            execution_list.cache_link(node_id, unique_id)
    for source, socket in links:
        execution_list.add_strong_link(source, socket, unique_id)
    return kept


def _from_subgraph(execution_list, unique_id, kept):
    """Outputs of a node that has added others, now that they have run."""
    resolved = []
    for is_subgraph, outputs in kept:
        values = []
        for value in outputs:
            if is_subgraph and is_link(value):
                values += execution_list.get_cache(value[0], unique_id).outputs[value[1]]
            else:
                values.append(value)
        resolved.append(tuple(values))
    return resolved


async def _lazily(prompt_id, unique_id, obj, inputs, missing):
    """Names of lazy inputs that a node needs."""
    if getattr(obj, "check_lazy_status", None) is None:
        return []
    asked = await _async_map_node_over_list(prompt_id, unique_id, obj, inputs, "check_lazy_status", allow_interrupt=True)
    names = {name for wanted in await resolve_map_node_over_list_results(asked) if isinstance(wanted, list) for name in wanted}
    return [name for name in names if name not in inputs or name in missing]


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
    unique_id = current_item
    node = dynprompt.get_node(unique_id)
    cls = nodes.NODE_CLASS_MAPPINGS[node["class_type"]]
    display = dynprompt.get_display_node_id(unique_id)
    cached = await caches.outputs.get(unique_id)
    if cached is not None:
        if cached.ui is not None:
            ui_outputs[unique_id] = cached.ui
            server.send_sync(
                "executed", {"node": unique_id, "display_node": display, "output": cached.ui, "prompt_id": prompt_id}, server.client_id
            )
        execution_list.cache_update(unique_id, cached)
        return ExecutionResult.SUCCESS, None, None
    inputs = None
    try:
        if unique_id in pending_async_nodes:
            tasks = pending_async_nodes.pop(unique_id)
            returned = [task.result() if isinstance(task, asyncio.Task) else task for task in tasks]
            output, ui, has_subgraph = get_output_from_returns(returned, cls)
        elif unique_id in pending_subgraph_results:
            resolved = _from_subgraph(execution_list, unique_id, pending_subgraph_results.pop(unique_id))
            output, ui, has_subgraph = merge_result_data(resolved, cls), {}, False
        else:
            inputs, missing = get_input_data(node["inputs"], cls, unique_id, execution_list, dynprompt, extra_data)
            server.last_node_id = display
            server.send_sync("executing", {"node": unique_id, "display_node": display, "prompt_id": prompt_id}, server.client_id)
            obj = await caches.objects.get(unique_id)
            if obj is None:
                obj = cls()
                await caches.objects.set(unique_id, obj)
            wanted = await _lazily(prompt_id, unique_id, obj, inputs, missing)
            for name in wanted:
                execution_list.make_input_strong_link(unique_id, name)
            if wanted:
                return ExecutionResult.PENDING, None, None

            def named(index):
                GraphBuilder.set_default_prefix(unique_id, index, 0)

            def blocked(block):
                if block.message is None:
                    return block
                message = f"Execution Blocked: {block.message}"
                error = {
                    "prompt_id": prompt_id,
                    "node_id": unique_id,
                    "exception_message": message,
                    "exception_type": "ExecutionBlocked",
                }
                server.send_sync("execution_error", error, server.client_id)
                return ExecutionBlocker(None)

            returned = await _async_map_node_over_list(
                prompt_id, unique_id, obj, inputs, obj.FUNCTION, allow_interrupt=True, execution_block_cb=blocked, pre_execute_cb=named
            )
            if any(isinstance(result, asyncio.Task) and not result.done() for result in returned):
                pending_async_nodes[unique_id] = returned
                unblock = execution_list.add_external_block(unique_id)

                async def ended():
                    await asyncio.gather(*(task for task in returned if isinstance(task, asyncio.Task)), return_exceptions=True)
                    unblock()

                caches.waiting = asyncio.create_task(ended())
                return ExecutionResult.PENDING, None, None
            returned = await resolve_map_node_over_list_results(returned)
            output, ui, has_subgraph = get_output_from_returns(returned, cls)
        if ui:
            ui_outputs[unique_id] = ui
            server.send_sync(
                "executed", {"node": unique_id, "display_node": display, "output": ui, "prompt_id": prompt_id}, server.client_id
            )
        if has_subgraph:
            pending_subgraph_results[unique_id] = await _add_subgraph(caches, dynprompt, execution_list, unique_id, output)
            return ExecutionResult.PENDING, None, None
        entry = CacheEntry(ui_outputs.get(unique_id), output)
        execution_list.cache_update(unique_id, entry)
        await caches.outputs.set(unique_id, entry)
    except model_management.InterruptProcessingException as error:
        return ExecutionResult.FAILURE, {"node_id": dynprompt.get_real_node_id(unique_id)}, error
    except Exception as error:
        traceback.print_exc()
        return ExecutionResult.FAILURE, _describe(error, dynprompt.get_real_node_id(unique_id), inputs), error
    executed.add(unique_id)
    return ExecutionResult.SUCCESS, None, None


def _describe(error, node_id, inputs):
    return {
        "node_id": node_id,
        "exception_message": str(error),
        "exception_type": full_name(type(error)),
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {name: [str(item)[:200] for item in value] for name, value in (inputs or {}).items()},
    }


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
            result, details, error = await execute(
                self.server,
                dynprompt,
                self.caches,
                node_id,
                extra_data,
                executed,
                prompt_id,
                waiting,
                subgraphs,
                tasks,
                ui_outputs,
            )
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
