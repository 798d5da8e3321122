"""Isolated node classes of ComfyUI's newer kind (`comfy_api.latest.io.ComfyNode`): proxies, and what ComfyUI gives their calls."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable
from typing import Any

from .calls import Calls
from .described import decode_schema, fresh, holds_files

#: The name under which the hidden values of a V3 node travel among its keyword arguments.
HIDDEN = "__hidden__"
Context = Callable[[], tuple[str, "str | None"]]


def is_v3(cls: Any) -> bool:
    """Whether ComfyUI treats this class as V3 (`execution.py`)."""
    internal = sys.modules.get("comfy_api.internal")
    return internal is not None and isinstance(cls, type) and issubclass(cls, internal._ComfyNodeInternal)


def _kinds() -> Any:
    """ComfyUI's module of the V3 API, if this ComfyUI has one."""
    try:
        from comfy_api.latest import io  # type: ignore[import-not-found]
    except ImportError:
        return None
    return io


def _with_hidden(cls: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the class's schema asks for, from the clone that ComfyUI has made for this call."""
    hidden = getattr(cls, "hidden", None)
    values = {} if hidden is None else {name: value for name, value in vars(hidden).items() if value is not None}
    return {**kwargs, HIDDEN: values} if values else kwargs


def inputs_of(cls: Any, given: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """How the inputs of a V3 node are made ready, as ComfyUI's executor does it for a class (`_async_map_node_over_list`): hidden ones by a
    clone, dynamic ones nested. `given` is what the executor passes beside them: `v3_data`, on older versions `hidden_inputs`."""
    data = given["v3_data"] if "v3_data" in given else given.get("hidden_inputs")
    clone = cls.PREPARE_CLASS_CLONE(data)
    nest = getattr(sys.modules.get("comfy_api.latest._io"), "build_nested_inputs", None) if given.get("v3_data") is not None else None

    def ready(inputs: dict[str, Any]) -> dict[str, Any]:
        return _with_hidden(clone, inputs if nest is None else nest(inputs, data))

    return ready


def _forward(calls: Calls, pack: str, name: str, method: str, context: Context) -> Any:
    async def forwarded(cls: Any, /, **kwargs: Any) -> Any:
        node, prompt = context()
        return await calls.run(pack, name, method, node, prompt, _with_hidden(cls, kwargs))

    return forwarded


def make_proxy(calls: Calls, pack: str, spec: dict[str, Any], context: Context) -> Any:
    """A V3 class that answers from `spec`; None where this ComfyUI has no such classes."""
    io = _kinds()
    if io is None:
        return None
    name, newer = spec["name"], spec["v3"]
    info, known = decode_schema(newer["info"]), decode_schema(spec["input_types"])
    listed = holds_files(known)
    hidden = [member for member in (getattr(io.Hidden, field, None) for field in newer["hidden"]) if member is not None]
    schema = io.Schema(node_id=name, display_name=spec["display_name"], category=spec["category"], hidden=hidden)
    schema.enable_expand = newer["expand"]
    schema.is_output_node = spec["output_node"]

    def inputs() -> Any:
        return fresh(known) if listed else known

    def input_types(cls: Any, include_hidden: bool = True, return_schema: bool = False, **more: Any) -> Any:
        found = copy.copy(inputs())
        if not include_hidden:
            found.pop("hidden", None)
        return (found, schema) if return_schema else found

    body: dict[str, Any] = {
        **spec["attributes"],
        "__module__": f"custom_nodes.{pack}",
        "__doc__": f"Isolated: runs in the worker of {pack}.",
        "RELATIVE_PYTHON_MODULE": f"custom_nodes.{pack}",
        "SCHEMA": schema,
        "define_schema": classmethod(lambda cls: schema),
        "GET_SCHEMA": classmethod(lambda cls: schema),
        "FINALIZE_SCHEMA": classmethod(lambda cls: schema),
        "INPUT_TYPES": classmethod(input_types),
        "GET_NODE_INFO_V1": classmethod(lambda cls: {**info, "input": inputs(), "python_module": f"custom_nodes.{pack}"}),
        "execute": classmethod(_forward(calls, pack, name, "FUNCTION", context)),
    }
    for attribute in ("category", "description", "input_is_list", "output_node", "deprecated", "experimental"):
        body[attribute.upper()] = spec[attribute]
    for attribute in ("return_types", "return_names", "output_tooltips", "output_is_list"):
        body[attribute.upper()] = decode_schema(spec[attribute])
    if spec["is_changed"]:
        body["fingerprint_inputs"] = classmethod(_forward(calls, pack, name, "IS_CHANGED", context))
    if spec["validate_inputs"] is not None:
        body["validate_inputs"] = _validate(calls, pack, name, spec["validate_inputs"], context)
    if spec["check_lazy_status"]:
        body["check_lazy_status"] = classmethod(_forward(calls, pack, name, "check_lazy_status", context))
    return type(name, (io.ComfyNode,), body)


def _validate(calls: Calls, pack: str, name: str, args: dict[str, Any], context: Context) -> Any:
    function = _forward(calls, pack, name, "VALIDATE_INPUTS", context)
    kinds = inspect.Parameter
    parameters = [kinds(arg, kinds.POSITIONAL_OR_KEYWORD) for arg in ["_node_class" if "cls" in args["args"] else "cls", *args["args"]]]
    if args["var_kw"]:
        parameters.append(kinds("kwargs", kinds.VAR_KEYWORD))
    function.__signature__ = inspect.Signature(parameters)
    return classmethod(function)
