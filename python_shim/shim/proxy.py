"""Node classes of packs that ComfyUI does not import: they answer its questions, and their work is done in a worker."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from . import proxy_v3
from .calls import Calls
from .described import decode_schema, fresh, holds_files


def context() -> tuple[str, str | None]:
    """Node id and prompt id of the node that ComfyUI runs now (`comfy_execution/utils.py`)."""
    utils = sys.modules.get("comfy_execution.utils")
    current = utils.get_executing_context() if utils is not None else None
    return ("", None) if current is None else (str(current.node_id), current.prompt_id)


def _forward(calls: Calls, pack: str, name: str, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def forwarded(this: Any, /, **kwargs: Any) -> Any:
        node, prompt = context()
        return await calls.run(pack, name, method, node, prompt, kwargs)

    return forwarded


def _validate(calls: Calls, pack: str, name: str, spec: dict[str, Any]) -> classmethod[Any, Any, Any]:
    """VALIDATE_INPUTS with the pack's own signature: ComfyUI decides by it which inputs to pass (`execution.py`)."""
    function: Any = _forward(calls, pack, name, "VALIDATE_INPUTS")
    kinds = inspect.Parameter
    first = "cls" if "cls" not in spec["args"] else "_node_class"
    parameters = [kinds(first, kinds.POSITIONAL_OR_KEYWORD)]
    parameters += [kinds(arg, kinds.POSITIONAL_OR_KEYWORD) for arg in spec["args"]]
    if spec["var_kw"]:
        parameters.append(kinds("kwargs", kinds.VAR_KEYWORD))
    function.__signature__ = inspect.Signature(parameters)
    return classmethod(function)


def input_types(spec: dict[str, Any]) -> Callable[[Any], Any]:
    """INPUT_TYPES from `spec`: never asks the worker, since ComfyUI calls it five times for a node."""
    inputs, graph = decode_schema(spec["input_types"]), decode_schema(spec["graph_input_types"])
    listed = holds_files(inputs)

    def INPUT_TYPES(cls: Any) -> Any:
        if graph is not None and _asked_by_graph():
            return graph
        return fresh(inputs) if listed else inputs

    return INPUT_TYPES


def _asked_by_graph() -> bool:
    """Whether ComfyUI's graph asks (`comfy_execution/graph.py`): some classes offer every input there."""
    frame: Any = sys._getframe(2)
    return frame.f_back is not None and frame.f_back.f_code.co_name == "get_input_info"


def renew(known: Any, made: Any) -> bool:
    """Give a proxy the answers of a newer one, and no others. In place: ComfyUI keeps instances of it. False if it is of another kind."""
    if known.__mro__[1:] != made.__mro__[1:]:
        return False
    for name in [name for name in vars(known) if not name.startswith("_") and name not in vars(made)]:
        delattr(known, name)
    for name, value in vars(made).items():
        if name not in ("__dict__", "__weakref__", "__module__", "__doc__"):
            try:
                setattr(known, name, value)
            except AttributeError:  # computed by ComfyUI's own base class
                continue
    return True


_MARK = "_envmanager_proxy"
_ASYNC = "_envmanager_async"


def own_attributes(cls: type) -> Any:
    """What a class itself has, whatever its metaclass says."""
    return type.__dict__["__dict__"].__get__(cls)


def is_proxy(cls: Any) -> bool:
    """Whether that very class is one of `make_proxy`."""
    return isinstance(cls, type) and own_attributes(cls).get(_MARK) is True


def make_proxy(calls: Calls, pack: str, spec: dict[str, Any]) -> type:
    """A class that answers ComfyUI's questions from `spec` (the `NodeClass` of the schemas) and runs in the worker."""
    made: type = _make_proxy(calls, pack, spec)
    setattr(made, _MARK, True)
    setattr(made, _ASYNC, spec["is_async"])
    return made


def is_async(cls: type, func: str) -> bool:
    """Whether a node's own method is a coroutine function; a proxy's methods all are."""
    return bool(own_attributes(cls)[_ASYNC]) if is_proxy(cls) else inspect.iscoroutinefunction(getattr(cls, func, None))


def _make_proxy(calls: Calls, pack: str, spec: dict[str, Any]) -> type:
    if spec["v3"] is not None:
        newer = proxy_v3.make_proxy(calls, pack, spec, context)
        if newer is not None:
            return newer
    name = spec["name"]
    body: dict[str, Any] = {
        **spec["attributes"],
        "__module__": f"custom_nodes.{pack}",
        "__doc__": f"Isolated: runs in the worker of {pack}.",
        "RELATIVE_PYTHON_MODULE": f"custom_nodes.{pack}",
        "INPUT_TYPES": classmethod(input_types(spec)),
        "RETURN_TYPES": decode_schema(spec["return_types"]),
        "CATEGORY": spec["category"],
        "DESCRIPTION": spec["description"],
        "INPUT_IS_LIST": spec["input_is_list"],
        "OUTPUT_NODE": spec["output_node"],
        "DEPRECATED": spec["deprecated"],
        "EXPERIMENTAL": spec["experimental"],
    }
    if spec["function"]:  # some nodes only show something on the canvas
        body |= {"FUNCTION": spec["function"], spec["function"]: _forward(calls, pack, name, "FUNCTION")}
    for attribute in ("return_names", "output_tooltips", "output_is_list"):
        if spec[attribute] is not None:
            body[attribute.upper()] = decode_schema(spec[attribute])
    if spec["is_changed"]:
        body["IS_CHANGED"] = classmethod(_forward(calls, pack, name, "IS_CHANGED"))
    if spec["validate_inputs"] is not None:
        body["VALIDATE_INPUTS"] = _validate(calls, pack, name, spec["validate_inputs"])
    if spec["check_lazy_status"]:
        body["check_lazy_status"] = _forward(calls, pack, name, "check_lazy_status")
    return type(name, (), body)
