"""What a node returned, read as ComfyUI reads it (`execution.py`: `get_output_from_returns`, `merge_result_data`, `execute`).

ComfyUI asks a result for keys, lengths and items, extends lists by it, and looks for blockers and links: of whatever class it is. The same
questions are asked here, and the outer shape crosses as plain containers of the answers. The values themselves stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from operator import is_
from typing import Any

from ..wire import comfy_values
from ..wire.arrays import array_kind
from ..wire.scalars import SCALARS, is_one_of, kinds_of
from ..wire.tensors import is_tensor
from .compared import as_compared

#: These cross as they are, and answer the same questions there.
_SAME = frozenset((*SCALARS, tuple, list))


def as_taken(method: str, result: Any, cls: Any) -> Any:
    """What a method of a node class returned, as ComfyUI takes it. Raises what ComfyUI's questions raise."""
    if method == "FUNCTION":
        return as_read(result, cls)
    if method == "IS_CHANGED":
        return as_compared(result)
    if method == "CACHE":
        return result
    if method == "check_lazy_status":  # a list of names, or nothing
        return [_text(name) for name in result if _is_a(name, str)] if _is_a(result, list) else None
    # VALIDATE_INPUTS: True, or what is shown as its text
    return result if is_one_of(result, SCALARS) or _is_a(result, comfy_values.blocker_class()) else str(result)


def as_read(result: Any, cls: Any) -> Any:
    """What crosses for a result of a node of `cls`."""
    listed = getattr(cls, "OUTPUT_IS_LIST", None)
    if _is_a(result, dict):
        return _of_dict(result, listed)
    internal = getattr(sys.modules.get("comfy_api.internal"), "_NodeOutputInternal", None)
    return _of_node_output(result, listed) if _is_a(result, internal) else _outputs(result, listed)


def _is_a(value: Any, kind: Any) -> bool:
    """`isinstance`, without asking the value: a pack's class may answer anything, or raise."""
    return kind is not None and issubclass(type(value), kind)


def _of_dict(result: Any, listed: Any) -> dict[str, Any]:
    """What else it holds, nobody looks at."""
    made = {}
    if "ui" in result:
        made["ui"] = _shown(result["ui"])
    if "expand" in result:
        made["expand"] = _graph(result["expand"])
        made["result"] = _outputs(result.get("result", None), listed, expands=True)
    elif "result" in result:
        made["result"] = _outputs(result.get("result", None), listed)
    return made


def _of_node_output(result: Any, listed: Any) -> Any:
    ui, expand = result.ui, result.expand
    if ui is not None:
        ui = _shown(ui if isinstance(ui, dict) else ui.as_dict())
    outputs = _outputs(result.result, listed, expands=expand is not None)
    return comfy_values.make_node_output(() if outputs is None else tuple(outputs), ui, _graph(expand), result.block_execution)


def _outputs(result: Any, listed: Any, expands: bool = False) -> Any:
    """One value for each output. A number or None has no items, as ComfyUI says then."""
    if _is_a(result, comfy_values.blocker_class()):
        return _blocker(result)
    if type(result) is not tuple and type(result) is not list:
        if _answers_the_same(result):
            return result
        result = tuple(result[index] for index in range(_length(result, listed)))
    lists = tuple(listed) if isinstance(listed, (tuple, list)) else ()
    made = [_output(item, index < len(lists) and bool(lists[index]), expands) for index, item in enumerate(result)]
    return result if all(map(is_, made, result)) else tuple(made)


def _length(result: Any, listed: Any) -> int:
    return len(result) if listed is None else min(len(result), len(listed))


def _answers_the_same(value: Any) -> bool:
    """Whether it crosses as it is, and has the same length and items there."""
    if is_one_of(value, _SAME):
        return True
    try:
        return is_tensor(type(value)) or array_kind(type(value)) is not None
    except Exception:  # noqa: BLE001 - a metaclass of a pack's own
        return False


def _output(item: Any, is_list: bool, expands: bool) -> Any:
    blocker = comfy_values.blocker_class()
    if _is_a(item, blocker):
        return _blocker(item)
    if expands:
        item = _link(item)
    if not is_list:
        return item
    if not _answers_the_same(item):
        item = list(item)
    kinds = kinds_of(item) if type(item) is list else ()
    if kinds is None or any(issubclass(kind, blocker) for kind in kinds):
        item = [_blocker(each) if _is_a(each, blocker) else each for each in item]
    return item


def _blocker(value: Any) -> Any:
    """Of a blocker only its message is asked for."""
    plain = comfy_values.is_blocker(type(value)) and vars(value).keys() == {"message"}
    return value if plain else comfy_values.make_blocker(value.message)


def _shown(ui: Any) -> Any:
    """What goes to the browser: a dict of lists, as JSON has them."""
    if hasattr(ui, "keys"):
        ui = {key: _row(ui[key]) for key in ui.keys()}  # noqa: SIM118 - as it is asked there
    return comfy_values.for_browser(ui)


def _row(shown: Any) -> Any:
    return list(shown) if not _answers_the_same(shown) and isinstance(shown, Iterable) else shown


def _graph(graph: Any) -> Any:
    """Nodes to be added: ids, and what each says of itself."""
    return graph if graph is None else {_text(node): _added(info) for node, info in graph.items()}


def _added(info: Any) -> dict[Any, Any]:
    made = {_text(key): _text(value) for key, value in info.items()}
    if hasattr(made.get("inputs"), "items"):
        made["inputs"] = {_text(name): _link(value) for name, value in made["inputs"].items()}
    return made


def _link(value: Any) -> Any:
    """A link is a list of a node's id and a number, also where these are more than that (`graph_utils.py`)."""
    if not _is_a(value, list) or len(value) != 2 or not _is_a(value[0], str) or not isinstance(value[1], (int, float)):
        return value
    node, socket = _text(value[0]), value[1]
    if type(socket) not in (int, float, bool):
        socket = int(socket) if isinstance(socket, int) else float(socket)
    return value if type(value) is list and node is value[0] and socket is value[1] else [node, socket]


def _text(value: Any) -> Any:
    """A text that is found as the text that it is."""
    kind = type(value)
    if kind is str or not issubclass(kind, str) or kind.__eq__ is not str.__eq__ or kind.__hash__ is not str.__hash__:
        return value
    return str.__str__(value)
