"""What a node is given and what it returns, as ComfyUI 0.33 has it (`execution.py`)."""

import asyncio
import traceback
from enum import Enum

from comfy_execution.graph import get_input_info
from comfy_execution.graph_utils import ExecutionBlocker, is_link
from comfy_execution.utils import CurrentNodeContext


class ExecutionResult(Enum):
    """How a node ended, for now."""

    SUCCESS = 0
    FAILURE = 1
    PENDING = 2


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
            if "expand" not in value and "result" not in value:
                continue
            graph, expands, value = value.get("expand"), "expand" in value, value.get("result")
        else:
            expands = False
        if isinstance(value, ExecutionBlocker):
            value = (value,) * len(obj.RETURN_TYPES)
        has_subgraph = has_subgraph or expands
        if not expands:
            results.append(value)
        added.append((graph, value))
    ui = {key: [item for each in shown for item in each[key]] for key in shown[0].keys()} if shown else {}  # noqa: SIM118
    return (added if has_subgraph else merge_result_data(results, obj) if results else []), ui, has_subgraph


def describe(error, node_id, inputs):
    """What is told of a node that has failed."""
    return {
        "node_id": node_id,
        "exception_message": str(error),
        "exception_type": full_name(type(error)),
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {name: [str(item)[:200] for item in value] for name, value in (inputs or {}).items()},
    }


async def resolve_map_node_over_list_results(results):
    """The results, those of tasks too."""
    waiting = [result for result in results if isinstance(result, asyncio.Task) and not result.done()]
    if waiting:
        done, _ = await asyncio.wait(waiting)
        for task in done:
            if task.exception() is not None:
                raise task.exception()
    return [result.result() if isinstance(result, asyncio.Task) else result for result in results]


async def in_context(function, prompt_id, node_id, index, inputs):
    """Call a node, which may ask where it is."""
    with CurrentNodeContext(prompt_id, node_id, index):
        return await function(**inputs)
